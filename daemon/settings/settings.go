// Package settings reads the daemon's own settings: what is no part of a policy. They are a YAML file, read as strictly as
// policies are, and once, when the daemon starts.
package settings

import (
	"fmt"
	"strings"
	"time"

	"ringwall/rules/diag"
	"ringwall/rules/source"
	"ringwall/rules/syntax"
)

// Settings is what the file says. The zero Settings is that of an empty one.
type Settings struct {
	Confirm time.Duration // how long a reload stands without a confirmation; 0 for ever
}

// maxFile bounds a file of settings, in bytes.
const maxFile = 64 << 10

// key is one setting.
type key struct {
	name string
	read func(s *Settings, text string) error // the error says what is wrong with the text
}

// keys is the settings that there are.
func keys() []key {
	return []key{
		{"confirm", func(s *Settings, text string) (err error) { s.Confirm, err = ParseWindow(text); return err }},
	}
}

// Load reads a file. The settings mean something only where the list has no errors. The error is about a file that can't
// be read, and wraps fs.ErrNotExist where there is none.
func Load(fsys source.FS, file string) (Settings, diag.List, error) {
	src, err := fsys.ReadFile(file, maxFile)
	if err != nil {
		return Settings{}, nil, fmt.Errorf("settings: %w", err)
	}
	root, diags := syntax.Parse(file, src)
	if root == nil || diags.HasErrors() {
		return Settings{}, diags, nil
	}
	var s Settings
	if root.Kind != syntax.Map {
		diags.Errorf(root.At, "not-a-mapping", "the settings are a mapping, got %s", root.Kind).WithHint("write for example `confirm: 60s`")
		return s, diags, nil
	}
	for _, pair := range root.Pairs {
		s.set(pair, &diags)
	}
	diags.Sort()
	return s, diags, nil
}

// set takes up one setting.
func (s *Settings) set(pair syntax.Pair, diags *diag.List) {
	var names []string
	for _, k := range keys() {
		names = append(names, "`"+k.name+"`")
		if k.name != pair.Key.Text {
			continue
		}
		switch pair.Value.Kind {
		case syntax.Null:
			diags.Errorf(pair.Key.At, "no-value", "`%s` has no value", k.name).WithHint("write one, or leave the key out")
		case syntax.Scalar:
			if err := k.read(s, pair.Value.Text); err != nil {
				diags.Errorf(pair.Value.At, "bad-value", "`%s`: %v", k.name, err)
			}
		default:
			diags.Errorf(pair.Value.At, "bad-value", "`%s` is one value, got %s", k.name, pair.Value.Kind)
		}
		return
	}
	diags.Errorf(pair.Key.At, "unknown-key", "unknown key %q", pair.Key.Text).WithHint("the settings are %s", strings.Join(names, ", "))
}

// The bounds of a window.
const (
	minWindow = time.Second
	maxWindow = 24 * time.Hour
)

// ParseWindow reads how long a change may stand without a confirmation.
func ParseWindow(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < minWindow || d > maxWindow {
		return 0, fmt.Errorf("%q is no time to confirm in: write for example `60s`, `5m` or `1h`, from one second to a day", text)
	}
	return d, nil
}
