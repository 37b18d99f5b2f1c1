package kernel

// named finds what has a name in a list. Two lists of a difference mostly name the same in the same order, so that what is looked for next
// stands behind what was found last: where it does not, an index is made, once.
type named[T any] struct {
	list  []T
	name  func(T) string
	next  int
	index map[string]int
}

func newNamed[T any](list []T, name func(T) string) *named[T] {
	return &named[T]{list: list, name: name}
}

// place is where in the list something stands, -1 for nowhere.
func (n *named[T]) place(name string) int {
	if n.next < len(n.list) && n.name(n.list[n.next]) == name {
		n.next++
		return n.next - 1
	}
	if n.index == nil {
		n.index = make(map[string]int, len(n.list))
		for i, x := range n.list {
			n.index[n.name(x)] = i
		}
	}
	i, ok := n.index[name]
	if !ok {
		return -1
	}
	n.next = i + 1
	return i
}

// find is what has a name, false where nothing has.
func (n *named[T]) find(name string) (x T, ok bool) {
	if i := n.place(name); i >= 0 {
		return n.list[i], true
	}
	return x, false
}

// has tells whether something has a name.
func (n *named[T]) has(name string) bool { return n.place(name) >= 0 }
