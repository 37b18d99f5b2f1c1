package daemon

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// scrapeTimeout bounds how long a scrape waits for the loop.
const scrapeTimeout = 10 * time.Second

// collector reads the daemon's numbers at the moment of a scrape; nothing is kept between scrapes.
type collector struct {
	d *daemon

	build, enforced, rules, bans         *prometheus.Desc
	reloads, lastReload, lastReloadOK    *prometheus.Desc
	rulePackets, ruleBytes, setElements  *prometheus.Desc
	heals, logLost, appliedAt, startedAt *prometheus.Desc
}

var _ prometheus.Collector = (*collector)(nil)

// metrics makes the handler of scrapes, with a registry of its own.
func (d *daemon) metrics() http.Handler {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ringwall_"+name, help, labels, nil)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{
		d:            d,
		build:        desc("build_info", "Version of the daemon; always 1.", "version"),
		enforced:     desc("enforced", "1 where the kernel's table is what was committed last.", "source"),
		rules:        desc("rules", "Rules of the enforced policy."),
		bans:         desc("bans", "Entries of dynamic sets."),
		reloads:      desc("reloads_total", "Reloads of the policy's files since the daemon started.", "result"),
		lastReload:   desc("last_reload_timestamp_seconds", "When the files were last read."),
		lastReloadOK: desc("last_reload_successful", "1 where what was read then is enforced."),
		rulePackets:  desc("rule_packets_total", "Packets that a rule has decided.", "section", "rule"),
		ruleBytes:    desc("rule_bytes_total", "Bytes of the packets that a rule has decided.", "section", "rule"),
		setElements:  desc("set_elements", "Ranges of a static set, entries of a dynamic one.", "set"),
		heals:        desc("heals_total", "Times the table was put back after a foreign change."),
		logLost:      desc("log_lost_total", "Packets that rules logged and the daemon did not get."),
		appliedAt:    desc("applied_timestamp_seconds", "When the kernel's table was last changed."),
		startedAt:    desc("start_timestamp_seconds", "When the daemon started."),
	})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

// Describe names the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.build, c.enforced, c.rules, c.bans, c.reloads, c.lastReload, c.lastReloadOK,
		c.rulePackets, c.ruleBytes, c.setElements, c.heals, c.logLost, c.appliedAt, c.startedAt,
	} {
		ch <- d
	}
}

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	type numbers struct {
		*control.Status
		*enforce.Page
	}
	n, err := ask(ctx, c.d, func(ctx context.Context) (numbers, error) {
		page, err := c.d.enf.Show(ctx)
		if err != nil {
			page = &enforce.Page{} // the wall is open: there are no rules to count
		}
		return numbers{c.d.status(ctx), page}, nil
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.enforced, err)
		return
	}
	emit := func(desc *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, kind, v, labels...)
	}
	s := n.Status
	emit(c.build, prometheus.GaugeValue, 1, s.Build)
	emit(c.enforced, prometheus.GaugeValue, flag(s.Enforced), string(s.Source))
	emit(c.rules, prometheus.GaugeValue, float64(s.Rules))
	emit(c.bans, prometheus.GaugeValue, float64(s.Bans))
	emit(c.reloads, prometheus.CounterValue, float64(s.Reload.Good), "good")
	emit(c.reloads, prometheus.CounterValue, float64(s.Reload.Bad), "bad")
	emit(c.lastReload, prometheus.GaugeValue, seconds(s.Reload.At))
	emit(c.lastReloadOK, prometheus.GaugeValue, flag(s.Reload.OK))
	emit(c.heals, prometheus.CounterValue, float64(s.Heals))
	emit(c.logLost, prometheus.CounterValue, float64(s.LogLost))
	emit(c.appliedAt, prometheus.GaugeValue, seconds(s.Applied))
	emit(c.startedAt, prometheus.GaugeValue, seconds(s.Started))
	for _, section := range n.Sections {
		seen := map[string]bool{} // the lines of failsafe share one name and one counter
		for _, line := range section.Lines {
			if line.Counts == nil || seen[line.ID] {
				continue
			}
			seen[line.ID] = true
			emit(c.rulePackets, prometheus.CounterValue, float64(line.Counts.Packets), section.Name, line.ID)
			emit(c.ruleBytes, prometheus.CounterValue, float64(line.Counts.Bytes), section.Name, line.ID)
		}
	}
	for _, set := range n.Sets {
		emit(c.setElements, prometheus.GaugeValue, float64(set.Ranges+set.Bans), set.Name)
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
