package ruleset

// Way is how much a packet passes on its way through chains.
type Way struct {
	Lookups int // in named maps
	Rules   int // others
}

// Worst is more than any packet passes on its way through the base chains of a hook, as far as the rules tell: as if each one was
// passed that stands before where it ends, and each lookup led to the costliest of the map's chains.
func (r *Ruleset) Worst(hook HookPoint) (sum Way) {
	w := worst{chains: make(map[string]*Chain), maps: make(map[string]*Map), known: make(map[string]Way)}
	for _, ch := range r.Chains {
		w.chains[ch.Name] = ch
	}
	for _, m := range r.Maps {
		w.maps[m.Name] = m
	}
	for _, ch := range r.Chains {
		if ch.Hook != nil && ch.Hook.Point == hook {
			sum = sum.and(w.chain(ch.Name))
		}
	}
	return sum
}

func (w Way) and(o Way) Way { return Way{w.Lookups + o.Lookups, w.Rules + o.Rules} }

// cost is what a way costs, in rules: a lookup takes as long as a dozen.
func (w Way) cost() int { return 12*w.Lookups + w.Rules }

func (w Way) or(o Way) Way {
	if o.cost() > w.cost() {
		return o
	}
	return w
}

// worst finds the costliest way.
type worst struct {
	chains map[string]*Chain
	maps   map[string]*Map
	known  map[string]Way // of chains
}

func (w *worst) chain(name string) Way {
	if way, ok := w.known[name]; ok {
		return way
	}
	var passed, longest Way
	for _, r := range w.chains[name].Rules {
		passed.Rules++
		var back, gone Way // through chains that packets come back from, or do not
		visit := func(v Verdict) {
			switch v.Kind {
			case Jump:
				back = back.or(w.chain(v.Chain))
			case Goto:
				gone = gone.or(w.chain(v.Chain))
			}
		}
		switch e := r.Exprs[len(r.Exprs)-1].(type) {
		case Verdict:
			visit(e)
		case VMap:
			for _, el := range e.Elems {
				visit(el.Verdict)
			}
		case VMapRef:
			passed.Lookups, passed.Rules = passed.Lookups+1, passed.Rules-1
			for _, el := range w.maps[e.Map].Elems {
				visit(el.Verdict)
			}
		}
		longest = longest.or(passed.and(gone))
		passed = passed.and(back)
	}
	longest = longest.or(passed)
	w.known[name] = longest
	return longest
}
