package configs_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"ringwall/configs"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// node is one place of the schema, as far as these tests look.
type node struct {
	Ref         string          `json:"$ref"`
	Description string          `json:"description"`
	Properties  map[string]node `json:"properties"`
	Definitions map[string]node `json:"definitions"`
	Then        *node           `json:"then"`
	Else        *node           `json:"else"`
	AnyOf       []node          `json:"anyOf"`
	Items       *node           `json:"items"`
	Enum        []any           `json:"enum"`
}

func schema(t *testing.T) node {
	t.Helper()
	var n node
	if err := json.Unmarshal([]byte(configs.Schema), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSchemaKeys holds the schema's keys and the loader's against each other, both ways: a key that an editor offers is read, and
// one that is read is offered. Keys that are not built are refused, so the schema does not have them.
func TestSchemaKeys(t *testing.T) {
	s := schema(t)
	places := map[string]node{
		"policy":   s,
		"defaults": s.Properties["defaults"],
		"base":     s.Properties["base"],
		"set":      *s.Definitions["set"].Then,
		"in":       *s.Definitions["inRule"].Else,
		"out":      *s.Definitions["outRule"].Else,
		"forward":  *s.Definitions["forwardRule"].Else,
		"test":     s.Definitions["test"],
	}
	for _, m := range policy.Mappings() {
		place, ok := places[m.Name]
		if !ok {
			t.Errorf("the schema has no place for mapping %q", m.Name)
			continue
		}
		delete(places, m.Name)
		var want []string
		for _, f := range m.Fields {
			if f.Built {
				want = append(want, f.Name)
			}
		}
		slices.Sort(want)
		got := slices.Sorted(maps.Keys(place.Properties))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys of %s (-loader +schema):\n%s", m.Name, diff)
		}
		for name, p := range place.Properties {
			if p.Ref != "" {
				p = s.Definitions[strings.TrimPrefix(p.Ref, "#/definitions/")]
			}
			if p.Description == "" {
				t.Errorf("%s.%s has no description for the editor to show", m.Name, name)
			}
		}
	}
	for name := range places {
		t.Errorf("the loader has no mapping %q", name)
	}
}

// TestSchemaWords holds the words that the schema offers for completion against those of the language.
func TestSchemaWords(t *testing.T) {
	s := schema(t)
	var offered []string
	for _, alternative := range s.Definitions["whatItem"].AnyOf {
		for _, word := range alternative.Enum {
			offered = append(offered, word.(string))
		}
	}
	for _, service := range policy.BuiltinServices() {
		if !slices.Contains(offered, service.Name) {
			t.Errorf("built-in service %s is not offered", service.Name)
		}
	}
	for _, word := range offered {
		load(t, word, "version: 1\nin:\n  - {allow: "+word+", from: 192.0.2.1}\n")
	}
	var sets []string
	for _, alternative := range s.Definitions["addressItem"].AnyOf {
		for _, word := range alternative.Enum {
			if word != "any" {
				sets = append(sets, word.(string))
			}
		}
	}
	var want []string
	for _, set := range policy.BuiltinSets() {
		want = append(want, set.Name)
	}
	slices.Sort(want)
	slices.Sort(sets)
	if diff := cmp.Diff(want, sets); diff != "" {
		t.Errorf("built-in sets (-language +schema):\n%s", diff)
	}
	var lints []string
	for _, word := range s.Definitions["lint"].Enum {
		lints = append(lints, word.(string))
	}
	if diff := cmp.Diff(policy.LintCodes(), lints); diff != "" {
		t.Errorf("codes of lints (-language +schema):\n%s", diff)
	}
}

// load demands that a policy's text has no errors.
func load(t *testing.T, what, text string) {
	t.Helper()
	if _, diags := policy.Load(source.Memory{"p.yaml": text}, "p.yaml", policy.Options{}); diags.HasErrors() {
		t.Errorf("%s: %v", what, diags)
	}
}

// validator compiles the schema.
func validator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(configs.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExamplesValidate: every shipped policy is one that an editor with the schema does not complain of.
func TestExamplesValidate(t *testing.T) {
	s := validator(t)
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d example policies: %v", len(files), err)
	}
	fragments, err := filepath.Glob("*.d/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, fragments...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(tree(t, name, string(text))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaAgrees: what the schema says of small policies is what the loader says.
func TestSchemaAgrees(t *testing.T) {
	s := validator(t)
	for _, tt := range []struct {
		text string
		good bool
	}{
		{"version: 1", true},
		{"version: 2", false},
		{"version: 1\nin: [{allow: ssh}]", true},
		{"version: 1\nin: [{allow: ssh, deny: http}]", false},
		{"version: 1\nin: [{from: any}]", false},
		{"version: 1\nin: [{allow: ssh, user: root}]", false},
		{"version: 1\nout: [{allow: ssh, user: 1000}]", true},
		{"version: 1\nout: [{allow: ssh, user: not root}]", true},
		{"version: 1\nin: [{allow: ssh, from: []}]", false},
		{"version: 1\nin: [{allow: ssh, from: [10.0.0.0/8, not 10.1.0.0/16, 2001:db8::-2001:db8::ff]}]", true},
		{"version: 1\nin: [{allow: ssh, limit: 10/minute burst 5 per source}]", true},
		{"version: 1\nin: [{allow: ssh, limit: 10/fortnight}]", false},
		{"version: 1\nin: [{allow: ssh, connections: 50}]", true},
		{"version: 1\nin: [{allow: ssh, connections: 50 per source}]", true},
		{"version: 1\nin: [{allow: ssh, log: yes please}]", true},
		{"version: 1\nin: [{allow: ssh, expires: 2099-01-31}]", true},
		{"version: 1\nin: [{allow: ssh, expires: tomorrow}]", false},
		{"version: 1\nin: [{allow: ssh, enabled: maybe}]", false},
		{"version: 1\nin: [{allow: ssh, ignore: open-admin-port}]", true},
		{"version: 1\nin: [{allow: ssh, ignore: everything}]", false},
		{"version: 1\nin: [{allow: tcp/8443, mark: [0x10/0xf0, 7], mac: \"52:54:00:12:34:56\", sport: [123, 1024-65535]}]", true},
		{"version: 1\nin: [{allow: tcp/8443, iface: [eth0, \"not br-*\"]}]", true},
		{"version: 1\nin: [{allow: tcp/8443, mark: [ten]}]", false},
		{"version: 1\nsets: {b: {dynamic: true, timeout: 1h30m, max: 10}}\nblock: b", true},
		{"version: 1\nsets: {b: {dynamic: true, timeout: soon}}\nblock: b", false},
		{"version: 1\nsets: {9: [192.0.2.1]}", false},
		{"version: 1\nservices: {web: [tcp/80, tcp+udp/443]}\nin: [{allow: web}]", true},
		{"version: 1\nfailsafe: {ssh: 10.0.0.0/8, tcp/9090: [10.0.0.1]}", true},
		{"version: 1\nbase: {loopback: false, reverse-path: true}", true},
		{"version: 1\nbase: {ping: true}", false},
		{"version: 1\nnat: []", false},
		{"version: 1\nestablished: cut", true},
		{"version: 1\ninclude: [x/*.yaml]\nin: [include, {allow: ssh}]", true},
		{"version: 1\nin: [exclude]", false},
		{"version: 1\nin: [{allow: ssh}]\ntests: [{in: ssh, expect: allow}]", true},
		{"version: 1\nin: [{allow: ssh}]\ntests: [{in: ssh, out: ssh, expect: allow}]", false},
		{"version: 1\nin: [{allow: ssh}]\ntests: [{in: ssh}]", false},
	} {
		err := s.Validate(tree(t, "p.yaml", tt.text))
		if (err == nil) != tt.good {
			t.Errorf("%s\nschema: %v, want good %v", tt.text, err, tt.good)
		}
		_, diags := policy.Load(source.Memory{"p.yaml": tt.text}, "p.yaml", policy.Options{})
		if diags.HasErrors() == tt.good {
			t.Errorf("%s\nloader: %v, want good %v", tt.text, diags, tt.good)
		}
	}
}

// tree is a document as an editor sees it: YAML 1.2, which has no type for dates.
func tree(t *testing.T, name, text string) any {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value(t, doc.Content[0])
}

func value(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch {
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = value(t, n.Content[i+1])
		}
		return m
	case n.Kind == yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, value(t, item))
		}
		return list
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!bool" || n.ShortTag() == "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return n.Value
}
