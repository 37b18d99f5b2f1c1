package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
)

// The installer refuses to run beside an active firewalld or ufw unless told. Here it meets a systemctl and a ufw that only pretend,
// and a build that fails, so that nothing is installed where it goes on.
func TestInstallRefusesBesideOthers(t *testing.T) {
	if os.Getuid() != 0 {
		nstest.Missing(t, "needs root, for mounts of its own")
	}
	script, err := filepath.Abs("../../scripts/install")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		firewalld bool   // is active
		ufw       string // its configuration; empty where it is not installed
		args      string
		refused   string // what the installer names; empty where it goes on
	}{
		{"nobody else", false, "", "", ""},
		{"firewalld", true, "", "", "firewalld"},
		{"firewalld, told", true, "", "--beside", ""},
		{"ufw", false, "ENABLED=yes", "", "ufw"},
		{"ufw, told", false, "ENABLED=yes", "--beside", ""},
		{"ufw that is off", false, "ENABLED=no", "", ""},
		{"install only", true, "ENABLED=yes", "--no-start", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			active := map[bool]string{true: "0", false: "3"}[c.firewalld]
			programs := map[string]string{
				"systemctl": "case \"$*\" in 'is-active --quiet firewalld') exit " + active + ";; *) exit 3;; esac",
				"go":        "echo went on >&2; exit 1",
			}
			if c.ufw != "" {
				programs["ufw"] = "exit 0"
			}
			for name, text := range programs {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// A machine with systemd, and ufw as it is configured.
			setUp := `mount -t tmpfs t /run; mkdir -p /run/systemd/system
mount -t tmpfs t /mnt; mkdir -p /mnt/up /mnt/work; mount -t overlay o -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc
mkdir -p /etc/ufw; echo "$UFW" >/etc/ufw/ufw.conf
`
			cmd := exec.Command("unshare", "-m", "sh", "-ec", setUp+fmt.Sprintf("PATH=%s:/usr/bin:/bin:/usr/sbin:/sbin exec sh %s %s", dir, script, c.args))
			cmd.Env = append(os.Environ(), "UFW="+c.ufw)
			out, err := cmd.CombinedOutput()
			text := string(out)
			if err == nil {
				t.Fatalf("it went through:\n%s", text)
			}
			wentOn := strings.Contains(text, "went on")
			refused := strings.Contains(text, c.refused+" is active, and two firewalls confuse") && strings.Contains(text, "--beside")
			if c.refused == "" && !wentOn || c.refused != "" && (!refused || wentOn) {
				t.Errorf("went on: %v\n%s", wentOn, text)
			}
		})
	}
}
