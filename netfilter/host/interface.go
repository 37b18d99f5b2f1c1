package host

import (
	"fmt"
	"net"
)

// Interface is a network device.
type Interface struct {
	Index int
	Name  string
	Kind  string // "device" for hardware, else the kind the kernel gives: "veth", "bridge", "wireguard"
	Up    bool   // set up by the administrator; says nothing about a cable
}

// Interfaces lists the devices present now, by index.
func (h *Host) Interfaces() ([]Interface, error) {
	links, err := dump(h.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	out := make([]Interface, 0, len(links))
	for _, l := range links {
		a := l.Attrs()
		out = append(out, Interface{Index: a.Index, Name: a.Name, Kind: l.Type(), Up: a.Flags&net.FlagUp != 0})
	}
	return out, nil
}

// InterfaceName is the name of the device with an index; an error wraps netlink.LinkNotFoundError where there is none.
func (h *Host) InterfaceName(index int) (string, error) {
	l, err := h.nl.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("interface %d: %w", index, err)
	}
	return l.Attrs().Name, nil
}
