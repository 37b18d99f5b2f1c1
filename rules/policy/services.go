package policy

import (
	"cmp"
	"slices"
	"strings"

	"ringwall/rules/syntax"
)

// serviceDef is a service as the policy writes it.
type serviceDef struct {
	key, value *syntax.Node
	state      progress
	used       bool // something names it
	what       what
	service    *Service // nil where it is wrong
}

// poolServices takes up the services of a file.
func (l *loader) poolServices(n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.errorf(n.At, "not-a-mapping", "`services` is a mapping of names, got %s", describe(n))
		return
	}
	for _, pair := range n.Pairs {
		if pair.Value.Kind == syntax.Null {
			l.noValue(pair.Key)
		}
		if !l.name(pair.Key, isBuiltinWhat, "service or protocol") {
			continue
		}
		if first, ok := l.services[pair.Key.Text]; ok {
			l.twice(pair.Key, "service", first.key.At)
			continue
		}
		d := &serviceDef{key: pair.Key, value: pair.Value}
		l.services[pair.Key.Text] = d
		l.serviceOrder = append(l.serviceOrder, d)
	}
}

// isBuiltinWhat tells whether a name is a service or protocol of the language itself.
func isBuiltinWhat(name string) bool {
	_, ok := builtinService(name)
	return ok || protocolNamed(name) != nil || name == "proto"
}

// resolveService finishes a service, with those that it names.
func (l *loader) resolveService(d *serviceDef) {
	name := d.key.Text
	switch d.state {
	case finished:
		return
	case underway:
		l.cycle("service", d.key, name)
		return
	}
	d.state = underway
	l.nesting = append(l.nesting, name)
	if len(l.nesting) > maxNesting {
		l.errorf(d.key.At, "too-large", "services nest at most %d deep", maxNesting)
	} else if d.value.Kind != syntax.Null {
		before := l.errors
		if w, ok := l.what(d.value); ok && l.errors == before {
			d.what = w
			d.service = &Service{Name: name, At: d.key.At, Text: strings.Join(w.items, ", "), What: w.What}
			l.p.Services[name] = d.service
		}
	}
	l.nesting = l.nesting[:len(l.nesting)-1]
	d.state = finished
}

// builtin is a service that the language itself names.
type builtin struct{ name, text string }

// BuiltinServices is the services that need no definition, sorted by name.
func BuiltinServices() []Service {
	out := make([]Service, len(serviceTable))
	for i, s := range serviceTable {
		out[i] = Service{Name: s.name, Text: s.text, What: s.what()}
	}
	return out
}

// what is the packets of the service.
func (s builtin) what() (w What) {
	for item := range strings.SplitSeq(s.text, ", ") {
		is, _ := protoItem(item) // a test reads them all
		w = w.Union(is)
	}
	return w
}

// builtinService finds a built-in service.
func builtinService(name string) (builtin, bool) {
	i, ok := slices.BinarySearchFunc(serviceTable[:], name, func(s builtin, name string) int { return cmp.Compare(s.name, name) })
	if !ok {
		return builtin{}, false
	}
	return serviceTable[i], true
}

// serviceTable is the built-in services, by name: what servers run today, at the ports of IANA's registry or, where it
// has none, of the software's own documentation. It never changes under a policy: names are only added.
var serviceTable = [...]builtin{
	{"amqp", "tcp/5672"},
	{"amqps", "tcp/5671"},
	{"bacula", "tcp/9101-9103"},
	{"bgp", "tcp/179"},
	{"cassandra", "tcp/9042"},
	{"dhcp", "udp/67"},
	{"dhcp-relay", "udp/67-68"},
	{"dhcpv6", "udp/547"},
	{"dns", "tcp+udp/53"},
	{"dns-over-quic", "udp/853"},
	{"dns-over-tls", "tcp/853"},
	{"docker", "tcp/2375-2376"},
	{"elasticsearch", "tcp/9200"},
	{"etcd", "tcp/2379-2380"},
	{"finger", "tcp/79"},
	{"ftp", "tcp/21"},
	{"git", "tcp/9418"},
	{"http", "tcp/80"},
	{"http-alt", "tcp/8080"},
	{"http3", "udp/443"},
	{"https", "tcp/443"},
	{"ident", "tcp/113"},
	{"imap", "tcp/143"},
	{"imaps", "tcp/993"},
	{"influxdb", "tcp/8086"},
	{"ipmi", "udp/623"},
	{"ipp", "tcp/631"},
	{"ipsec", "udp/500, udp/4500, esp"},
	{"iscsi", "tcp/3260"},
	{"kafka", "tcp/9092"},
	{"kerberos", "tcp+udp/88"},
	{"kpasswd", "tcp+udp/464"},
	{"kube-apiserver", "tcp/6443"},
	{"kubelet", "tcp/10250"},
	{"l2tp", "udp/1701"},
	{"ldap", "tcp+udp/389"},
	{"ldaps", "tcp/636"},
	{"llmnr", "tcp+udp/5355"},
	{"mdns", "udp/5353"},
	{"memcached", "tcp/11211"},
	{"mongodb", "tcp/27017"},
	{"mosh", "udp/60000-61000"},
	{"mqtt", "tcp/1883"},
	{"mqtts", "tcp/8883"},
	{"mssql", "tcp/1433"},
	{"mysql", "tcp/3306"},
	{"nats", "tcp/4222"},
	{"netbios", "tcp/139, udp/137-138"},
	{"nfs", "tcp/2049"},
	{"node-exporter", "tcp/9100"},
	{"nrpe", "tcp/5666"},
	{"ntp", "udp/123"},
	{"openvpn", "tcp+udp/1194"},
	{"oracle", "tcp/1521"},
	{"pop3", "tcp/110"},
	{"pop3s", "tcp/995"},
	{"postgres", "tcp/5432"},
	{"pptp", "tcp/1723"},
	{"prometheus", "tcp/9090"},
	{"puppet", "tcp/8140"},
	{"radius", "udp/1812-1813"},
	{"rdp", "tcp+udp/3389"},
	{"redis", "tcp/6379"},
	{"rpcbind", "tcp+udp/111"},
	{"rsync", "tcp/873"},
	{"rtsp", "tcp/554"},
	{"salt", "tcp/4505-4506"},
	{"sieve", "tcp/4190"},
	{"sip", "tcp+udp/5060"},
	{"sips", "tcp/5061"},
	{"smb", "tcp/445"},
	{"smtp", "tcp/25"},
	{"smtps", "tcp/465"},
	{"snmp", "udp/161"},
	{"snmptrap", "udp/162"},
	{"socks", "tcp/1080"},
	{"squid", "tcp/3128"},
	{"ssh", "tcp/22"},
	{"stun", "tcp+udp/3478"},
	{"submission", "tcp/587"},
	{"syslog", "udp/514"},
	{"syslog-tls", "tcp/6514"},
	{"telnet", "tcp/23"},
	{"tftp", "udp/69"},
	{"traceroute", "udp/33434-33523"},
	{"vnc", "tcp/5900-5903"},
	{"vxlan", "udp/4789"},
	{"whois", "tcp/43"},
	{"winrm", "tcp/5985-5986"},
	{"wireguard", "udp/51820"},
	{"xmpp", "tcp/5222"},
	{"xmpp-server", "tcp/5269"},
	{"zabbix-agent", "tcp/10050"},
	{"zabbix-server", "tcp/10051"},
}
