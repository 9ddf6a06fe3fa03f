package bench

import "fmt"

// check compares a page with what the group holds; broken says what is wrong with it, "" when nothing.
func (b *book) check(after uint64, p readPage) (broken string) {
	want := b.behind(after)
	switch {
	case p.Group != b.group:
		return fmt.Sprintf("it is of group %q", p.Group)
	case len(p.Messages) > len(want):
		return fmt.Sprintf("%d messages, there are only %d", len(p.Messages), len(want))
	case len(p.Messages) < len(want) && !p.More:
		return fmt.Sprintf("%d messages and no more, there are %d", len(p.Messages), len(want))
	case len(p.Messages) == len(want) && p.More:
		return "it promises more, there is none"
	case len(p.Messages) == 0 && len(want) > 0:
		return "no message and more to come"
	}
	for i, m := range p.Messages {
		switch w := want[i]; {
		case m.Seq != w.seq:
			return fmt.Sprintf("message %d has seq %d, not %d", i, m.Seq, w.seq)
		case m.Group != b.group || m.From != b.writer || m.ClientID != w.clientID:
			return fmt.Sprintf("seq %d is %q of %q in %q, not what was sent", m.Seq, m.ClientID, m.From, m.Group)
		case len(m.Body) != 1 || m.Body[0].Type != "text" || m.Body[0].Text != b.text:
			return fmt.Sprintf("seq %d has another body: %.120q", m.Seq, fmt.Sprint(m.Body))
		}
	}
	return p.explain(after)
}

// explain finds a seq of the page's range that has neither a message nor a hole, or both.
func (p readPage) explain(after uint64) (broken string) {
	holes := p.Holes
	at := after
	for _, m := range p.Messages {
		for at+1 < m.Seq && len(holes) > 0 && holes[0].From == at+1 {
			at, holes = max(at+1, holes[0].To), holes[1:]
		}
		if at+1 != m.Seq {
			return fmt.Sprintf("seq %d after seq %d, and no hole that says why", m.Seq, at)
		}
		at = m.Seq
	}
	if len(holes) > 0 && holes[0].From <= at {
		return fmt.Sprintf("a hole from %d to %d where there are messages", holes[0].From, holes[0].To)
	}
	return ""
}
