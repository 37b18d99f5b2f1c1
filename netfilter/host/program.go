package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Program is an interface where something sees arriving packets before the firewall does.
type Program struct {
	Interface string
	XDP       bool // an XDP program
	TC        bool // a filter of traffic control
}

// Programs is the interfaces where something sees arriving packets before the firewall does.
func (h *Host) Programs() ([]Program, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Program
	for _, link := range links {
		a := link.Attrs()
		p := Program{Interface: a.Name, XDP: a.Xdp != nil && a.Xdp.Attached}
		filters, err := h.nl.FilterList(link, netlink.HANDLE_MIN_INGRESS)
		switch {
		case err == nil:
			p.TC = len(filters) > 0
		case !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL):
			return nil, fmt.Errorf("filters of interface %s: %w", a.Name, err)
		}
		if p.XDP || p.TC {
			out = append(out, p)
		}
	}
	return out, nil
}
