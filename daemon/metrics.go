package daemon

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// scrapeTimeout bounds how long a scrape waits for the loop.
const scrapeTimeout = 10 * time.Second

// metrics is the handler of scrapes. It reads the daemon's numbers at that moment; nothing is kept between scrapes.
func (d *daemon) metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := d.numbers(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(text)
	})
}

// numbers is the metrics in Prometheus' text format.
func (d *daemon) numbers(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	page := &enforce.Page{}
	s, err := ask(ctx, d, func(ctx context.Context) (*control.Status, error) {
		if p, err := d.enf.Show(ctx); err == nil { // else the wall is open: there are no rules to count
			page = p
		}
		return d.status(ctx), nil
	})
	if err != nil {
		return nil, err
	}
	var m exposition
	m.gauge("build_info", "Version of the daemon; always 1.")
	m.sample(1, "version", s.Build)
	m.gauge("enforced", "1 where the kernel's table is what was committed last.")
	m.sample(flag(s.Enforced), "source", string(s.Source))
	m.gauge("rules", "Rules of the enforced policy.")
	m.sample(float64(s.Rules))
	m.gauge("bans", "Entries of dynamic sets.")
	m.sample(float64(s.Bans))
	m.counter("reloads_total", "Reloads of the policy's files since the daemon started.")
	m.sample(float64(s.Reload.Good), "result", "good")
	m.sample(float64(s.Reload.Bad), "result", "bad")
	m.gauge("last_reload_timestamp_seconds", "When the files were last read.")
	m.sample(seconds(s.Reload.At))
	m.gauge("last_reload_successful", "1 where what was read then is enforced.")
	m.sample(flag(s.Reload.OK))
	m.gauge("reload_held_back", "1 where what was read then is held back, though it has no error.")
	m.sample(flag(s.Reload.Held))
	m.counter("heals_total", "Times the table was put back after a foreign change.")
	m.sample(float64(s.Heals))
	m.counter("events_lost_total", "Times that others committed more than the daemon could hear of; it looked at the table then.")
	m.sample(float64(s.EventsLost))
	m.gauge("fight", "1 where others changed the table again and again, and nobody but the daemon can change it any more.")
	m.sample(flag(s.Fight))
	m.gauge("confirm_pending", "1 while a change awaits its confirmation.")
	m.sample(flag(s.Awaited != nil))
	m.gauge("proof_failed", "1 where what is enforced does to a packet what the policy does not say.")
	m.sample(flag(s.Wrong()))
	m.gauge("proof_pending", "1 while what is enforced was proved on a sample, and the whole proof is under way.")
	m.sample(flag(s.Proof != nil && s.Proof.State == control.ProofUnderWay))
	m.counter("rollbacks_total", "Times that an older policy came back: not confirmed, or by rollback.")
	m.sample(float64(s.Rollbacks))
	m.counter("log_lost_total", "Packets that rules logged and the daemon did not get.")
	m.sample(float64(s.LogLost))
	m.gauge("applied_timestamp_seconds", "When the kernel's table was last changed.")
	m.sample(seconds(s.Applied))
	m.gauge("start_timestamp_seconds", "When the daemon started.")
	m.sample(seconds(s.Started))
	m.counter("rule_packets_total", "Packets that a rule has decided.")
	m.rules(page, func(c *enforce.Counted) uint64 { return c.Packets })
	m.counter("rule_bytes_total", "Bytes of the packets that a rule has decided.")
	m.rules(page, func(c *enforce.Counted) uint64 { return c.Bytes })
	m.gauge("set_elements", "Ranges of a static set, entries of a dynamic one.")
	for _, set := range page.Sets {
		m.sample(float64(set.Ranges+set.Bans), "set", set.Name)
	}
	if r := s.Observed; r != nil {
		m.counter("observed_packets_total", "Packets that the observed policy would have decided otherwise.")
		for _, c := range r.Cases {
			verdict := c.New
			if c.Over {
				verdict = "over"
			}
			m.sample(float64(c.Packets), "list", c.List, "new", verdict, "now", c.Now.By, "old", c.Old, "was", c.Was.By)
		}
	}
	return m.text.Bytes(), nil
}

// exposition is metrics in Prometheus' text format, under way.
type exposition struct {
	text bytes.Buffer
	name string // of the metric whose samples come next
}

func (m *exposition) gauge(name, help string)   { m.begin(name, help, "gauge") }
func (m *exposition) counter(name, help string) { m.begin(name, help, "counter") }

// begin begins a metric. Its help has no line breaks.
func (m *exposition) begin(name, help, kind string) {
	m.name = "ringwall_" + name
	m.text.WriteString("# HELP " + m.name + " " + help + "\n# TYPE " + m.name + " " + kind + "\n")
}

// sample adds a sample with labels, each a name and a value, sorted by name.
func (m *exposition) sample(v float64, labels ...string) {
	m.text.WriteString(m.name)
	for i := 0; i < len(labels); i += 2 {
		m.text.WriteByte("{,"[min(i, 1)])
		m.text.WriteString(labels[i] + `="`)
		for _, c := range []byte(strings.ToValidUTF8(labels[i+1], "\uFFFD")) {
			switch c {
			case '\\', '"':
				m.text.WriteByte('\\')
			case '\n':
				m.text.WriteByte('\\')
				c = 'n'
			}
			m.text.WriteByte(c)
		}
		m.text.WriteByte('"')
	}
	if len(labels) > 0 {
		m.text.WriteByte('}')
	}
	m.text.WriteByte(' ')
	m.text.Write(strconv.AppendFloat(m.text.AvailableBuffer(), v, 'g', -1, 64))
	m.text.WriteByte('\n')
}

// rules adds a sample for each line of the page that counts.
func (m *exposition) rules(page *enforce.Page, of func(*enforce.Counted) uint64) {
	for _, section := range page.Sections {
		seen := map[string]bool{} // the lines of failsafe share one name and one counter
		for _, line := range section.Lines {
			if line.Counts == nil || seen[line.ID] {
				continue
			}
			seen[line.ID] = true
			m.sample(float64(of(line.Counts)), "rule", line.ID, "section", section.Name)
		}
	}
}

// flag is 1 for true.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus wants it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
