package enforce

import (
	"os"
	"path/filepath"
	"testing"

	"ringwall/rules/source"
)

// TestReplayTouchesNoFiles has a bundle name files that are there, and of which it does not hold the contents.
func TestReplayTouchesNoFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"policy.yaml": "version: 1\ninclude: [more.yaml, '*.d']\nsets: {s: {file: list}}\nin: [{allow: ssh, from: s}]\n",
		"more.yaml":   "in: [{allow: http}]\n",
		"list":        "192.0.2.1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entry := filepath.Join(dir, "policy.yaml")
	whole := Load(source.OS{}, entry, LoadOptions{})
	if !whole.OK() {
		t.Fatal(whole.Diags)
	}
	if c, err := Replay(entry, whole.Bundle, LoadOptions{}); err != nil || !c.OK() || c.Digest != whole.Digest {
		t.Fatalf("the whole bundle: %v, %v", c, err)
	}
	for _, bundle := range []*source.Bundle{
		{},
		Load(source.Memory{entry: "version: 1\ninclude: more.yaml\n"}, entry, LoadOptions{}).Bundle,
		Load(source.Memory{entry: "version: 1\nsets: {s: {file: ../../../../../../../etc/hostname}}\n"}, entry, LoadOptions{}).Bundle,
	} {
		c, err := Replay(entry, bundle, LoadOptions{})
		if err != nil || c.OK() {
			t.Errorf("a bundle without contents: %v, %v", c.Policy, err)
		}
	}
	if _, err := Replay(entry, nil, LoadOptions{}); err == nil {
		t.Error("no bundle at all is taken")
	}
}
