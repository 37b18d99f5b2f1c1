package syntax

// counter counts what the library will make nodes and comments of; rather too much than too little.
type counter struct {
	lexer      *lexer
	token      token // the last
	count      int
	directives int
	brackets   [maxDepth + 1]bracket // those around the token, by depth
}

// bracket is an open bracket.
type bracket struct {
	braces bool // it is {
	keyed  bool // since it opened, or since the last comma, there was a colon
}

// values is the count so far. A list or mapping counts for two: more is made of it.
func (c *counter) values() int { return c.count + 2*c.lexer.collections + c.lexer.comments }

// next takes the next token up, false at the end.
func (c *counter) next() bool {
	before, tok := c.token, c.lexer.next()
	c.token = tok
	if opensValue(before.kind) && (tok.line != before.line || !beginsValue(tok.kind)) {
		c.count++ // nothing
	}
	if tok.first && tok.kind != tokEnd && c.lexer.t.src[tok.start] == '%' && tok.start == c.lexer.t.lines[tok.line-1] {
		c.directives++
	}
	var around *bracket
	if tok.depth > 0 && tok.depth <= maxDepth {
		around = &c.brackets[tok.depth]
	}
	switch tok.kind {
	case tokEnd:
		return false
	case tokPlain:
		if !tok.continued {
			c.count++
		}
	case tokReserved, tokQuoted, tokUnclosed, tokBlock, tokAlias, tokTag, tokAnchor, tokQuestion, tokMarker:
		c.count++
	case tokOpen:
		c.count += 2
		if around != nil {
			*around = bracket{braces: c.lexer.t.src[tok.start] == '{'}
		}
	case tokColon:
		if around != nil {
			if around.keyed = true; !around.braces {
				c.count += 2 // a mapping of one pair
			}
		}
	case tokComma, tokClose:
		if around != nil {
			if around.braces && !around.keyed && before.kind != tokOpen {
				c.count++ // a key without a value
			}
			around.keyed = false
		}
	}
	return true
}

// opensValue tells whether a token is followed by a value, if only by nothing.
func opensValue(k tokenKind) bool { return k == tokDash || k == tokColon || k == tokQuestion }

// beginsValue tells whether a token begins a value.
func beginsValue(k tokenKind) bool {
	switch k {
	case tokPlain, tokQuoted, tokUnclosed, tokBlock, tokAlias, tokTag, tokAnchor, tokOpen, tokReserved, tokDash, tokQuestion:
		return true
	}
	return false
}
