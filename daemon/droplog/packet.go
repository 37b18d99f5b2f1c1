package droplog

import (
	"net"
	"strings"
	"time"

	"github.com/florianl/go-nflog/v2"
)

// Packet is one packet that a rule has logged.
type Packet struct {
	Time time.Time // when the kernel took it in, or when it was read where the kernel did not say
	Rule string    // the first word of the log prefix: the chain that logged it, "in.ssh-admins"
	Text string    // the rest of the prefix; may be empty

	In, Out string           // interface names; empty where there is none
	MAC     net.HardwareAddr // of the sender; only of packets that came in over a link that has them
	Mark    uint32
	UID     uint32 // of the sending socket, where HasUID
	HasUID  bool   // only of packets that this host sends

	Header
}

// snapLen is how many bytes of a packet are copied: an IPv6 header, some extension headers and TCP's.
const snapLen = 256

// newPacket makes a Packet of what the kernel sent. Names of interfaces are looked up by their index.
func newPacket(a nflog.Attribute, now time.Time, name func(index uint32) string) (Packet, error) {
	if a.Payload == nil {
		return Packet{}, errShort
	}
	h, err := ParseHeader(*a.Payload)
	if err != nil {
		return Packet{}, err
	}
	p := Packet{Header: h, Time: now}
	if a.Timestamp != nil {
		p.Time = *a.Timestamp
	}
	if a.Prefix != nil {
		p.Rule, p.Text, _ = strings.Cut(strings.TrimRight(*a.Prefix, "\x00"), " ")
		p.Text = strings.TrimSpace(p.Text)
	}
	if a.InDev != nil {
		p.In = name(*a.InDev)
	}
	if a.OutDev != nil {
		p.Out = name(*a.OutDev)
	}
	if a.HwAddr != nil && len(*a.HwAddr) > 0 {
		p.MAC = net.HardwareAddr(*a.HwAddr)
	}
	if a.Mark != nil {
		p.Mark = *a.Mark
	}
	if a.UID != nil {
		p.UID, p.HasUID = *a.UID, true
	}
	return p, nil
}
