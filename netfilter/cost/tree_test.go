package cost_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/rules/workload"
)

// tree is this machine's files with other firewalls among them, over an overlay in memory: nothing of the machine is changed,
// and none of their services ever starts on it.
type tree struct{ root string }

// newTree mounts a tree and installs what is missing there; nil where that is not possible, after saying so. The process must
// have a mount namespace of its own.
func newTree(t testing.TB) *tree {
	t.Helper()
	if os.Getenv("BENCH_MOUNTS") != "own" {
		say("not in a mount namespace of its own: iptables, ufw and firewalld are left out")
		return nil
	}
	lab := t.TempDir()
	tr := &tree{filepath.Join(lab, "root")}
	mount := func(source, target, kind string, flags uintptr, data string) {
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	}
	mount("tmpfs", lab, "tmpfs", 0, "mode=0755")
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(lab, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", tr.root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", lab, lab))
	mount("proc", tr.path("/proc"), "proc", 0, "")
	mount("/sys", tr.path("/sys"), "", unix.MS_BIND|unix.MS_REC, "")
	mount("/dev", tr.path("/dev"), "", unix.MS_BIND|unix.MS_REC, "")
	mount("tmpfs", tr.path("/run"), "tmpfs", 0, "mode=0755")
	if err := tr.install(); err != nil {
		say("iptables, ufw and firewalld are left out: %v", err)
		return nil
	}
	return tr
}

func (tr *tree) path(name string) string { return filepath.Join(tr.root, name) }

// install brings the programs that the machine lacks.
func (tr *tree) install() error {
	var missing []string
	for _, need := range [][2]string{{"iptables-nft-restore", "iptables"}, {"ufw", "ufw"}, {"firewalld", "firewalld"}, {"dbus-daemon", "dbus"}} {
		if _, err := os.Stat(tr.path("/usr/sbin/" + need[0])); err == nil {
			continue
		}
		if _, err := os.Stat(tr.path("/usr/bin/" + need[0])); err != nil {
			missing = append(missing, need[1])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	say("installing %s into a throw-away copy of this machine's files, in memory; the machine stays as it is", strings.Join(missing, ", "))
	if err := tr.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755); err != nil { // no service starts
		return err
	}
	// The copy has its own /run, where the file may have been.
	if conf, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		os.Remove(tr.path("/etc/resolv.conf"))
		if err := tr.write("/etc/resolv.conf", string(conf), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)} {
		cmd := tr.command("apt-get", args...)
		cmd.Env = append(cmd.Env, "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lines[len(lines)-1])
		}
	}
	return nil
}

func (tr *tree) write(name, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(tr.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(tr.path(name), []byte(text), mode)
}

// command is a program of the tree.
func (tr *tree) command(name string, args ...string) *exec.Cmd {
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(tr.path(dir + name)); err == nil {
			name = dir + name
			break
		}
	}
	cmd := &exec.Cmd{Path: name, Args: append([]string{name}, args...), Dir: "/",
		Env:         []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: tr.root, Pdeathsig: syscall.SIGKILL}}
	return cmd
}

// run runs a program of the tree in a host's network.
func (tr *tree) run(t testing.TB, h *host, input, name string, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	h.Do(t, func() {
		cmd := tr.command(name, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func (tr *tree) iptables(t testing.TB, h *host, w *workload.Workload) {
	restore := "iptables-nft-restore"
	if w.Shape == workload.Six {
		restore = "ip6tables-nft-restore"
	}
	tr.run(t, h, iptablesRules(w), restore)
}

// ufw has ufw load a policy: its own files and chains, with the rules where it keeps them.
func (tr *tree) ufw(t testing.TB, h *host, w *workload.Workload) {
	const file = "/etc/ufw/user.rules"
	was, err := os.ReadFile(tr.path(file))
	if err != nil {
		t.Fatal(err)
	}
	begin, rest, ok := strings.Cut(string(was), "### RULES ###\n")
	_, end, _ := strings.Cut(rest, "### END RULES ###\n")
	if end == "" {
		end = rest // there were no rules yet
	}
	if !ok {
		t.Fatalf("%s has no place for rules", file)
	}
	text := begin + "### RULES ###\n" + ufwRules(w) + "\n### END RULES ###\n" + end
	if err := tr.write(file, text, 0o640); err != nil {
		t.Fatal(err)
	}
	tr.run(t, h, "", "ufw", "--force", "enable")
	// It is this host's only; for the next one ufw is off, and its rules are in the kernel here.
	if err := tr.write("/etc/ufw/ufw.conf", "ENABLED=no\nLOGLEVEL=low\n", 0o644); err != nil {
		t.Fatal(err)
	}
}

// firewalld runs the daemon until it has enforced a policy, and then ends it the hard way, so that what it made stays.
func (tr *tree) firewalld(t testing.TB, h *host, w *workload.Workload) {
	const conf = "/etc/firewalld/firewalld.conf"
	was, err := os.ReadFile(tr.path(conf))
	if err != nil {
		t.Fatal(err)
	}
	// It is not to unload the kernel's modules.
	text := strings.ReplaceAll(string(was), "CleanupModulesOnExit=yes", "CleanupModulesOnExit=no")
	if err := errors.Join(tr.write(conf, text, 0o644), tr.write("/etc/firewalld/zones/public.xml", firewalldZone(w), 0o644),
		os.MkdirAll(tr.path("/run/dbus"), 0o755)); err != nil {
		t.Fatal(err)
	}
	os.Remove(tr.path("/run/dbus/pid"))
	var log bytes.Buffer
	bus, daemon := tr.command("dbus-daemon", "--system", "--nofork", "--nopidfile"), tr.command("python3", "/usr/sbin/firewalld", "--nofork", "--nopid")
	daemon.Stdout, daemon.Stderr = &log, &log
	h.Do(t, func() {
		if err := bus.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		err := daemon.Start()
		for deadline := time.Now().Add(5 * time.Minute); err == nil; time.Sleep(200 * time.Millisecond) {
			if tr.command("firewall-cmd", "--state").Run() == nil {
				break
			}
			if time.Now().After(deadline) {
				err = errors.New("not running after five minutes")
			}
		}
		if daemon.Process != nil {
			daemon.Process.Kill()
			daemon.Wait()
		}
		bus.Process.Kill()
		bus.Wait()
		if err != nil {
			t.Fatalf("firewalld: %v\n%s", err, log.String())
		}
	})
}

// versions is what the programs say they are.
func (tr *tree) versions() map[string]string {
	out := make(map[string]string)
	for name, args := range map[string][]string{iptables: {"iptables-nft", "--version"}, ufw: {"ufw", "version"}, firewalld: {"firewall-offline-cmd", "--version"}} {
		if text, err := tr.command(args[0], args[1]).Output(); err == nil {
			out[name], _, _ = strings.Cut(string(text), "\n")
		}
	}
	return out
}
