package watch_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringwall/daemon/watch"
	"ringwall/netfilter/nstest"
)

const (
	// bound is how soon a change must be signalled: the settling and what a busy machine adds to it.
	bound = 5 * time.Second
	// quiet is how long a watcher is listened to before it counts as silent: several times the settling.
	quiet = 150 * time.Millisecond
)

// world is a policy directory under real directories, and a watcher on it.
type world struct {
	t   *testing.T
	dir string // /…/etc/ringwall
	w   *watch.Watcher
}

// newWorld makes etc/ringwall with a policy, and a directory to include from.
func newWorld(t *testing.T) *world {
	t.Helper()
	root := t.TempDir()
	x := &world{t: t, dir: filepath.Join(root, "etc", "ringwall")}
	x.mkdir("policy.d")
	x.write("ringwall.yaml", "version: 1\n")
	x.write("policy.d/a.yaml", "in: []\n")
	return x
}

// watch starts to watch the entry file and policy.d/*.yaml, and takes the signal that follows the first Update.
func (x *world) watch() {
	x.t.Helper()
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{
		Files: []string{x.path("ringwall.yaml"), x.path("policy.d/a.yaml")},
		Globs: []string{x.path("policy.d/*.yaml")},
	})
	x.signalled("the first Update")
	x.silent("after the first Update")
}

func (x *world) watchPaths(opt watch.Options, p watch.Paths) {
	x.t.Helper()
	w, err := watch.New(opt)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { w.Close() })
	x.w = w
	w.Update(p)
}

func (x *world) path(name string) string { return filepath.Join(x.dir, name) }

func (x *world) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *world) write(name, text string) {
	x.t.Helper()
	x.must(os.WriteFile(x.path(name), []byte(text), 0o644))
}

func (x *world) mkdir(name string) {
	x.t.Helper()
	x.must(os.MkdirAll(x.path(name), 0o755))
}

func (x *world) rename(from, to string) {
	x.t.Helper()
	x.must(os.Rename(x.path(from), x.path(to)))
}

func (x *world) symlink(target, name string) {
	x.t.Helper()
	x.must(os.Symlink(target, x.path(name)))
}

// signalled takes a signal, which must come.
func (x *world) signalled(after string) {
	x.t.Helper()
	select {
	case <-x.w.Changes():
	case <-time.After(bound):
		x.t.Fatalf("no signal after %s", after)
	}
}

// settle takes signals until none comes any more, and counts them: what is done in several steps may be several changes.
func (x *world) settle(after string) int {
	x.t.Helper()
	x.signalled(after)
	for n := 1; ; n++ {
		select {
		case <-x.w.Changes():
		case <-time.After(quiet):
			return n
		}
	}
}

func (x *world) silent(when string) {
	x.t.Helper()
	select {
	case <-x.w.Changes():
		x.t.Fatalf("a signal %s", when)
	case <-time.After(quiet):
	}
}

// stillWatching shows that a plain save is seen, so that what happened before has not made the watcher deaf.
func (x *world) stillWatching(name string) {
	x.t.Helper()
	x.silent("of itself")
	x.write(name, time.Now().String())
	x.signalled("saving " + name)
}

func TestSaves(t *testing.T) {
	t.Parallel()
	saves := map[string]func(x *world, name string){
		"in place": func(x *world, name string) { x.write(name, "a: 1\n") },
		"rename over, as vim does": func(x *world, name string) {
			x.write("4913", "")
			x.must(os.Remove(x.path("4913")))
			x.rename(name, name+"~")
			x.write(name, "a: 2\n")
			x.must(os.Remove(x.path(name + "~")))
		},
		"write aside and rename": func(x *world, name string) {
			x.write(name+".tmp", "a: 3\n")
			x.rename(name+".tmp", name)
		},
		"remove and create": func(x *world, name string) {
			x.must(os.Remove(x.path(name)))
			x.write(name, "a: 4\n")
		},
		"hard link": func(x *world, name string) {
			x.write("new", "a: 5\n")
			x.must(os.Remove(x.path(name)))
			x.must(os.Link(x.path("new"), x.path(name)))
		},
		"remove":        func(x *world, name string) { x.must(os.Remove(x.path(name))) },
		"make readable": func(x *world, name string) { x.must(os.Chmod(x.path(name), 0o600)) },
	}
	for how, save := range saves {
		for _, name := range []string{"ringwall.yaml", "policy.d/a.yaml"} {
			t.Run(how+" "+name, func(t *testing.T) {
				t.Parallel()
				x := newWorld(t)
				x.watch()
				save(x, name)
				x.signalled(how)
				x.stillWatching(name)
			})
		}
	}
}

func TestVim(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("vim"); err != nil {
		nstest.Missing(t, "%v", err)
	}
	// Under /tmp vim's default is to write in place; backupcopy=no is what it does elsewhere.
	for _, mode := range []string{"no", "yes"} {
		t.Run("backupcopy="+mode, func(t *testing.T) {
			x := newWorld(t)
			x.watch()
			for range 3 {
				cmd := exec.Command("vim", "-u", "NONE", "-es", "-c", "set backup writebackup backupskip= backupcopy="+mode,
					"-c", "normal ocomment", "-c", "wq", x.path("ringwall.yaml"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("vim: %v\n%s", err, out)
				}
				x.settle("vim")
			}
		})
	}
}

func TestOthersFilesMeanNothing(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watch()
	x.write("notes.txt", "x")
	x.write("policy.d/.a.yaml.swp", "x")
	x.write("policy.d/README", "x")
	x.mkdir("../other")
	x.write("../other/ringwall.yaml", "x")
	x.must(os.Remove(x.path("notes.txt")))
	x.silent("for files that are no part of the policy")
}

func TestGitCheckout(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		nstest.Missing(t, "%v", err)
	}
	const files = 500
	x := newWorld(t)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", x.dir, "-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-qm", "one")
	git("checkout", "-qb", "many")
	for i := range files {
		x.write(fmt.Sprintf("policy.d/f%03d.yaml", i), "in: []\n")
	}
	git("add", ".")
	git("commit", "-qm", "two")
	git("checkout", "-q", "main")
	x.watch()
	for _, branch := range []string{"many", "main"} {
		git("checkout", "-q", branch)
		if n := x.settle("a checkout"); n > 3 {
			t.Errorf("%d signals for a checkout of %d files", n, files)
		}
	}
	git("status")
	git("log")
	git("fetch", "-q", ".")
	x.silent("for git commands that change no file")
	x.stillWatching("policy.d/a.yaml")
}

// TestHalfACheckout is a git that takes its time, and one that died on the way.
func TestHalfACheckout(t *testing.T) {
	x := newWorld(t)
	x.mkdir(".git")
	x.watchPaths(watch.Options{Rescan: -1, Checkout: 2 * time.Second}, watch.Paths{Files: []string{x.path("ringwall.yaml"), x.path("policy.d/a.yaml")}})
	x.signalled("the first Update")
	x.write(".git/index.lock", "")
	x.write("policy.d/a.yaml", "in: [] # one\n")
	x.silent("while git writes")
	x.write("ringwall.yaml", "version: 1 # one\n")
	x.silent("while git goes on writing")
	x.must(os.Remove(x.path(".git/index.lock")))
	x.signalled("git is done")
	x.silent("after the checkout")

	x.write(".git/index.lock", "")
	x.write("policy.d/a.yaml", "in: [] # two\n")
	x.silent("while git may write")
	x.signalled("git has not been done for long")
}

func TestConfigMap(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.must(os.RemoveAll(x.dir))
	version := func(n int) {
		dir := fmt.Sprintf("..v%d", n)
		x.mkdir(dir)
		x.write(dir+"/ringwall.yaml", fmt.Sprint(n))
		x.symlink(dir, "..data_tmp")
		x.rename("..data_tmp", "..data")
	}
	x.mkdir("")
	version(0)
	x.symlink("..data/ringwall.yaml", "ringwall.yaml")
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{Files: []string{x.path("ringwall.yaml")}, Globs: []string{x.path("*.yaml")}})
	x.signalled("the first Update")
	for n := range 4 {
		x.silent("of itself")
		version(n + 1)
		x.must(os.RemoveAll(x.path(fmt.Sprintf("..v%d", n))))
		x.signalled("swap of ..data")
		if b, err := os.ReadFile(x.path("ringwall.yaml")); err != nil || string(b) != fmt.Sprint(n+1) {
			t.Errorf("read %q, %v at the signal", b, err)
		}
	}
	x.stillWatching("..v4/ringwall.yaml")
}

func TestMovedAwayAndBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ringwall.yaml", "policy.d", "../ringwall", "../../etc"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			x := newWorld(t)
			x.watch()
			for range 2 {
				x.rename(name, name+".away")
				x.signalled("moving it away")
				x.silent("of itself")
				if st, err := os.Stat(x.path(name + ".away")); err == nil && st.IsDir() {
					// What stands elsewhere is no part of the policy now.
					x.must(os.WriteFile(filepath.Join(x.path(name+".away"), "a.yaml"), nil, 0o644))
					x.silent("from the directory that was moved away")
				}
				x.rename(name+".away", name)
				x.signalled("moving it back")
				x.silent("of itself")
			}
			// Faster than the settling.
			for range 20 {
				x.rename(name, name+".away")
				x.rename(name+".away", name)
			}
			x.settle("moving it to and fro")
			x.stillWatching("ringwall.yaml")
			x.stillWatching("policy.d/a.yaml")
		})
	}
}

func TestRemovedAndMadeAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		pause bool
	}{{"at once", false}, {"after a while", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newWorld(t)
			x.watch()
			for range 3 {
				x.must(os.RemoveAll(filepath.Dir(x.dir))) // etc, two levels above the files
				if c.pause {
					x.settle("removing it")
				}
				x.mkdir("policy.d")
				x.write("ringwall.yaml", "version: 1\n")
				x.write("policy.d/a.yaml", "in: []\n")
				x.settle("making it again")
				x.stillWatching("ringwall.yaml")
				x.stillWatching("policy.d/a.yaml")
			}
		})
	}
}

func TestAnotherDirectoryInItsPlace(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watch()
	x.mkdir("../next/policy.d")
	x.write("../next/ringwall.yaml", "version: 2\n")
	x.write("../next/policy.d/a.yaml", "in: []\n")
	x.silent("before the swap")
	x.rename("../ringwall", "../previous")
	x.rename("../next", "../ringwall")
	x.settle("the swap")
	x.write("../previous/ringwall.yaml", "x")
	x.silent("from the directory that was there before")
	x.stillWatching("ringwall.yaml")
	x.stillWatching("policy.d/a.yaml")
}

func TestSymlinkInThePath(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	// etc/ringwall -> ../releases/current -> one
	x.mkdir("../../releases")
	x.rename("../ringwall", "../../releases/one")
	x.must(os.CopyFS(filepath.Join(x.dir, "../../releases/two"), os.DirFS(filepath.Join(x.dir, "../../releases/one"))))
	x.must(os.Symlink("../releases/current", x.dir))
	releases := filepath.Join(filepath.Dir(filepath.Dir(x.dir)), "releases")
	retarget := func(to string) {
		t.Helper()
		x.must(os.Symlink(to, filepath.Join(releases, "next")))
		x.must(os.Rename(filepath.Join(releases, "next"), filepath.Join(releases, "current")))
	}
	retarget("one")
	x.watch()
	write := func(name string) { x.must(os.WriteFile(filepath.Join(releases, name), nil, 0o644)) }
	write("two/ringwall.yaml")
	x.silent("for a release that is not the current one")
	retarget("two")
	x.signalled("another target of the link")
	x.silent("of itself")
	write("two/policy.d/a.yaml")
	x.signalled("a save in the new target")
	x.silent("of itself")
	write("one/ringwall.yaml")
	x.silent("for the release before")
	// Absolute, with the outer link made anew.
	x.must(os.Remove(x.dir))
	x.settle("removing the outer link")
	x.must(os.Symlink(filepath.Join(releases, "one"), x.dir))
	x.settle("making it again")
	x.stillWatching("policy.d/a.yaml")
}

func TestLinksInACircle(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.symlink("b", "a")
	x.symlink("a", "b")
	x.symlink("../ringwall", "self")
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{
		Files: []string{x.path("a/x.yaml"), x.path("self/self/self/../ringwall/ringwall.yaml")},
		Globs: []string{x.path("*/*/*/*.yaml")},
	})
	x.signalled("the first Update")
	x.stillWatching("ringwall.yaml")
}

func TestLateDirectories(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{
		Files: []string{x.path("ringwall.yaml")},
		Globs: []string{x.path("late/deep/*.yaml"), x.path("hosts/*/in-*.yaml")},
	})
	x.signalled("the first Update")
	x.silent("of itself")
	x.mkdir("late")
	x.settle("the first directory")
	x.mkdir("late/deep")
	x.settle("the second directory")
	x.write("late/deep/x.txt", "")
	x.silent("for a file that no pattern takes")
	x.write("late/deep/x.yaml", "")
	x.signalled("a file in them")
	x.silent("of itself")
	x.mkdir("hosts/web1")
	x.settle("a directory that a pattern takes")
	x.write("hosts/web1/in-a.yaml", "")
	x.signalled("a file in it")
	x.silent("of itself")
	// All at once, faster than a watch can be set up.
	x.must(os.RemoveAll(x.path("late")))
	x.settle("removing it all")
	x.mkdir("late/deep")
	x.write("late/deep/y.yaml", "")
	x.settle("making it all")
	x.stillWatching("late/deep/y.yaml")
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{Files: []string{x.path("no/such/file.txt")}})
	x.signalled("the first Update")
	x.silent("of itself")
	x.mkdir("no/such")
	x.write("no/such/file.txt", "")
	x.settle("the file's coming")
	x.stillWatching("no/such/file.txt")
}

func TestUpdateSignalsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watch()
	paths := watch.Paths{Files: []string{x.path("ringwall.yaml")}}
	x.w.Update(paths)
	x.signalled("fewer paths")
	x.w.Update(paths)
	x.silent("for the same paths again")
	x.write("policy.d/a.yaml", "x")
	x.silent("for a file that is no longer watched")
}

// TestSavesDuringUpdate saves while the watcher is told the same paths again and again: each save must be signalled.
func TestSavesDuringUpdate(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watch()
	paths := watch.Paths{
		Files: []string{x.path("ringwall.yaml"), x.path("policy.d/a.yaml")},
		Globs: []string{x.path("policy.d/*.yaml")},
	}
	for i := range 20 {
		x.write("ringwall.yaml", fmt.Sprint(i))
		for range 5 {
			x.w.Update(paths)
		}
		x.signalled("a save")
	}
}

func TestRelativeNames(t *testing.T) {
	x := newWorld(t)
	t.Chdir(filepath.Dir(x.dir))
	x.watchPaths(watch.Options{Rescan: -1}, watch.Paths{Files: []string{"ringwall/ringwall.yaml"}, Globs: []string{"ringwall/policy.d/*.yaml"}})
	x.signalled("the first Update")
	x.stillWatching("ringwall.yaml")
	x.stillWatching("policy.d/b.yaml")
}

func TestWithoutEndComesInParts(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watchPaths(watch.Options{Rescan: -1, Settle: 50 * time.Millisecond, Latest: 200 * time.Millisecond}, watch.Paths{Files: []string{x.path("ringwall.yaml")}})
	x.signalled("the first Update")
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				os.WriteFile(x.path("ringwall.yaml"), []byte(time.Now().String()), 0o644)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 3 {
		x.signalled("writing without a pause")
	}
}

func TestRescan(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watchPaths(watch.Options{Rescan: 20 * time.Millisecond}, watch.Paths{})
	for range 3 {
		x.signalled("a while")
	}
}

func TestSoonEnough(t *testing.T) {
	x := newWorld(t)
	x.watch()
	var slowest time.Duration
	for i := range 20 {
		start := time.Now()
		x.write("ringwall.yaml", fmt.Sprint(i))
		x.signalled("a save")
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("slowest of 20 saves: %v", slowest)
	if slowest < 50*time.Millisecond {
		t.Errorf("a save was signalled after %v, before it settled", slowest)
	}
	if slowest > 200*time.Millisecond {
		t.Errorf("a save was signalled after %v", slowest)
	}
}

func TestCloseEndsIt(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.watch()
	x.must(x.w.Close())
	x.write("ringwall.yaml", "x")
	x.silent("after Close")
	x.w.Update(watch.Paths{})
	x.must(x.w.Close())
}
