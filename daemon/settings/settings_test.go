package settings

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"ringwall/rules/source"
)

func TestLoad(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"# nothing yet\n":     0,
		"{}":                  0,
		"confirm: 60s\n":      time.Minute,
		"confirm: \"1h30m\"":  90 * time.Minute,
		"{confirm: 24h}":      24 * time.Hour,
		"---\nconfirm: 5m\n#": 5 * time.Minute,
	} {
		s, diags, err := Load(source.Memory{"daemon.yaml": text}, "daemon.yaml")
		if err != nil || len(diags) > 0 || s.Confirm != want {
			t.Errorf("%q: %+v, %v, %v", text, s, diags, err)
		}
	}
}

// TestStrict wants every mistake at its place.
func TestStrict(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "daemon.yaml:1:1: error: the file is empty",
		"confirm: 60s\nconfirm: 60s":  "daemon.yaml:2:1: error: the key `confirm` stands twice",
		"# a\n\nconfrm: 60s":          `daemon.yaml:3:1: error: unknown key "confrm"`,
		"confirm:":                    "daemon.yaml:1:1: error: `confirm` has no value",
		"confirm: soon":               "daemon.yaml:1:10: error: `confirm`: \"soon\" is no time",
		"confirm: 60":                 "daemon.yaml:1:10: error: `confirm`: \"60\" is no time",
		"confirm: -5s":                "daemon.yaml:1:10: error: `confirm`: \"-5s\" is no time",
		"confirm: 25h":                "daemon.yaml:1:10: error: `confirm`: \"25h\" is no time",
		"confirm: 10ms":               "daemon.yaml:1:10: error: `confirm`: \"10ms\" is no time",
		"confirm: [60s]":              "daemon.yaml:1:10: error: `confirm` is one value, got a list",
		"- confirm: 60s":              "daemon.yaml:1:1: error: the settings are a mapping, got a list",
		"confirm: 60s\n---\nmore: {}": "daemon.yaml:2:1: error: a second document",
		"confirm: {":                  "daemon.yaml:1:",
	} {
		_, diags, err := Load(source.Memory{"daemon.yaml": text}, "daemon.yaml")
		if err != nil || !diags.HasErrors() || !strings.HasPrefix(diags[0].String(), want) {
			t.Errorf("%q: %v, %v; want %s", text, diags, err, want)
		}
	}
	if _, _, err := Load(source.Memory{}, "daemon.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestShippedFile reads the file that the installer writes.
func TestShippedFile(t *testing.T) {
	s, diags, err := Load(source.OS{}, "../../configs/settings/daemon.yaml")
	if err != nil || len(diags) > 0 || s != (Settings{}) {
		t.Errorf("%+v, %v, %v", s, diags, err)
	}
}
