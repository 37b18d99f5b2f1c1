package daemon

import "testing"

// TestExposition holds the text format: what has a meaning of its own in a label's value is escaped.
func TestExposition(t *testing.T) {
	var m exposition
	m.gauge("rules", "Rules of the enforced policy.")
	m.sample(10000)
	m.counter("rule_packets_total", "Packets that a rule has decided.")
	m.sample(1<<53, "rule", "a\"b\\c\nd\xffé", "section", "in")
	const want = "# HELP ringwall_rules Rules of the enforced policy.\n# TYPE ringwall_rules gauge\nringwall_rules 10000\n" +
		"# HELP ringwall_rule_packets_total Packets that a rule has decided.\n# TYPE ringwall_rule_packets_total counter\n" +
		`ringwall_rule_packets_total{rule="a\"b\\c\nd` + "\uFFFDé" + `",section="in"} 9.007199254740992e+15` + "\n"
	if got := m.text.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
