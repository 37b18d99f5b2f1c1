package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"ringwall/rules/policy"
)

// Root is where the host's files are: empty for the host itself, a directory for a test.
type Root string

func (r Root) path(name string) string { return filepath.Join(string(r), name) }

func (r Root) exists(name string) bool {
	_, err := os.Lstat(r.path(name))
	return err == nil
}

// number reads a number of /proc/sys, false where there is none.
func (r Root) number(name string) (int, bool) {
	b, err := os.ReadFile(r.path("/proc/sys/" + name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// legacy looks for rules of the old x_tables, which nf_tables can't list.
func (r Root) legacy() (out []Finding, err error) {
	for _, tool := range []string{"iptables-legacy", "ip6tables-legacy"} {
		name := strings.Replace(strings.TrimSuffix(tool, "tables-legacy"), "ip", "/proc/net/ip", 1) + "_tables_names"
		b, failed := os.ReadFile(r.path(name))
		switch {
		case errors.Is(failed, fs.ErrNotExist):
			continue // the module was never loaded
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("whether %s has rules: %w", tool, failed))
		default:
			if tables := strings.Fields(string(b)); len(tables) > 0 {
				out = append(out, problem(tool, "has tables ("+strings.Join(tables, ", ")+"), which may refuse what Ringwall admits; nobody can list them but itself", "`"+tool+"-save` lists them; move to iptables-nft, or flush them"))
			}
		}
	}
	return out, err
}

const systemUnits = "/etc/systemd/system/"

// enabled tells whether a unit is to be started by some target.
func (r Root) enabled(unit string) bool {
	for _, kind := range []string{"wants", "requires"} {
		found, err := filepath.Glob(r.path(systemUnits + "*." + kind + "/" + unit))
		if err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// boot looks at whether the policy comes back after a boot.
func (r Root) boot() (out []Finding, _ error) {
	if !r.exists("/run/systemd/system") || !r.exists(systemUnits+"ringwall.service") {
		return nil, nil // another service manager, or none; or ringwall was not installed
	}
	for _, unit := range []string{"ringwall-boot.service", "ringwall.service"} {
		if !r.enabled(unit) {
			out = append(out, problem(unit, "is not enabled: after the next boot the host is open", "`systemctl enable "+unit+"`"))
		}
	}
	return out, nil
}

// rivals looks for firewalls that are set up to come up.
func (r Root) rivals() (out []Finding, err error) {
	if r.enabled("firewalld.service") {
		out = append(out, problem("firewalld", "is enabled, so that it comes up with every boot: what Ringwall admits it may refuse", "`systemctl disable --now firewalld`"))
	}
	on, failed := r.says("/etc/ufw/ufw.conf", "ENABLED=yes")
	if on {
		out = append(out, problem("ufw", "is enabled: what Ringwall admits it may refuse", "`ufw disable`"))
	}
	err = errors.Join(err, failed)
	if r.enabled("nftables.service") {
		flushes, failed := r.says("/etc/nftables.conf", "flush ruleset")
		if flushes {
			out = append(out, note("nftables.service", "flushes all rules when it starts: Ringwall's table stays on Linux 6.9 and newer while the daemon runs, and comes back within a second elsewhere", "take `flush ruleset` out of /etc/nftables.conf, or `systemctl disable nftables`"))
		}
		err = errors.Join(err, failed)
	}
	return out, err
}

// says tells whether a file has a line that begins with some words, in any case. A file that is not there has none.
func (r Root) says(file, words string) (bool, error) {
	f, err := os.Open(r.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(lines.Text())), strings.ToLower(words)) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// tracking looks at the connection table: without room in it new connections are dropped, whatever the policy says.
func (r Root) tracking() (out []Finding, _ error) {
	const nf = "net/netfilter/nf_conntrack_"
	count, ok := r.number(nf + "count")
	most, there := r.number(nf + "max")
	if ok && there && most > 0 && count*100 >= most*80 {
		out = append(out, problem("connection table", fmt.Sprintf("%d of %d places are taken; when it is full, new connections are dropped", count, most), "raise net.netfilter.nf_conntrack_max"))
	}
	if loose, ok := r.number(nf + "tcp_loose"); ok && loose == 0 {
		out = append(out, note("connection table", "nf_conntrack_tcp_loose is 0: a TCP connection that it did not see begin, such as one through a router before the first apply, is invalid, and dropped where `base: invalid` is on"))
	}
	return out, nil
}

// forwarding looks at whether the host passes on packets that nobody judges.
func (r Root) forwarding(p *policy.Policy) (out []Finding, _ error) {
	if p == nil || p.Transit {
		return nil, nil
	}
	for _, f := range [][2]string{{"IPv4", "net/ipv4/ip_forward"}, {"IPv6", "net/ipv6/conf/all/forwarding"}} {
		name := f[1]
		if on, ok := r.number(name); ok && on != 0 {
			out = append(out, note("transit", "the host passes "+f[0]+" packets on, and the policy does not judge them", "where that is not the work of containers or guests: write `defaults: {forward: deny}`, or set "+strings.ReplaceAll(name, "/", ".")+" to 0"))
		}
	}
	return out, nil
}

// state looks at the state directory: who can write there decides what is enforced at the next boot.
func (r Root) state(dir string) (out []Finding, err error) {
	st, err := os.Stat(r.path(dir))
	switch {
	case dir == "":
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{problem(dir, "is not there: nothing is stored for the next boot", "`ringwall apply` makes it")}, nil
	case err != nil:
		return nil, err
	case !st.IsDir():
		return []Finding{problem(dir, "is no directory", "move it away")}, nil
	}
	if st.Mode().Perm()&0o022 != 0 {
		out = append(out, problem(dir, fmt.Sprintf("others may write to it (mode %#o): they decide what is enforced at the next boot", st.Mode().Perm()), "`chmod 0700 "+dir+"`"))
	}
	switch _, err := os.Stat(r.path(filepath.Join(dir, "last-good"))); {
	case errors.Is(err, fs.ErrNotExist):
		out = append(out, problem(dir, "has no policy for the next boot", "`ringwall apply` stores it"))
	case err != nil:
		return out, err
	}
	return out, nil
}

// written looks at who may write the policy's files, or the directories that they are in: such users are as good as root.
func (r Root) written(files []string) (out []Finding, err error) {
	seen := map[string]bool{}
	for _, file := range files {
		for _, name := range []string{file, filepath.Dir(file)} {
			if seen[name] {
				continue
			}
			seen[name] = true
			st, failed := os.Stat(r.path(name))
			if failed != nil {
				err = errors.Join(err, failed)
				continue
			}
			sticky := st.IsDir() && st.Mode()&fs.ModeSticky != 0
			if mode := st.Mode().Perm(); mode&0o022 != 0 && !sticky {
				out = append(out, problem(name, fmt.Sprintf("others may write to it (mode %#o), and so open the host", mode), "`chmod go-w "+name+"`"))
			}
			if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 {
				out = append(out, note(name, fmt.Sprintf("belongs to user %d, who can open the host by it", sys.Uid), "`chown root "+name+"`, unless that is meant"))
			}
		}
	}
	return out, err
}
