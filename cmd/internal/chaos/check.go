package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"
)

// The checks, each named for the promise that it finds broken.
const (
	Lost        = "lost"         // acknowledged, and not stored
	Vanished    = "vanished"     // shown to somebody, and not stored with that seq
	StoredTwice = "stored_twice" // one message in two rows
	WrongSeq    = "wrong_seq"    // stored with another seq than was acknowledged
	Reused      = "reused"       // one seq was given to two messages
	WentBack    = "went_back"    // a seq, or a group's max_seq, below one that was known before
	Reordered   = "reordered"    // accepted or pushed in another order, or pushed twice
	Gap         = "gap"          // a reader has passed a message, or never got it
	HoleLies    = "hole_lies"    // a hole covers a message, and who was told it was not told otherwise
	Unread      = "unread"       // a read mark fell, or the number of unread messages is not that of the rows
	Heat        = "heat"         // the ranking is not a count of who spoke
	DurableLie  = "durable_lie"  // durable, and no row at that moment
	Duplicate   = "duplicate"    // a repeat was answered as new, or with another seq
	Refused     = "refused"      // a good send got an error that forbids to try again
	Deadlocked  = "deadlocks"    // batches lock rows in different orders; told by the database, not by a history
)

// Checks are all of them, in the order of reports.
func Checks() []string {
	return []string{
		Lost, Vanished, StoredTwice, WrongSeq, Reused, WentBack, Reordered, Gap, HoleLies, Unread, Heat, DurableLie,
		Duplicate, Refused, Deadlocked,
	}
}

// Violation is a broken promise.
type Violation struct{ Check, Text string }

func (v Violation) String() string { return v.Check + ": " + v.Text }

// Check returns everything in which a history breaks what hearth promises.
func Check(h *History) []Violation {
	c := newChecker(h)
	c.checkAttempts()
	c.checkSeqs()
	c.checkOrder()
	c.checkProgress()
	for i := range h.Views {
		c.checkView(&h.Views[i])
	}
	c.checkHoles()
	c.checkMarks()
	c.checkRanking()
	return c.found
}

// Count tells how often each check failed.
func Count(found []Violation) map[string]int {
	counts := make(map[string]int)
	for _, v := range found {
		counts[v.Check]++
	}
	return counts
}

type checker struct {
	*History
	found []Violation

	rows map[string][]Row    // of a group, by seq
	byID map[messageID][]Row // of a message
}

// messageID names a message.
type messageID struct{ group, id string }

func newChecker(h *History) *checker {
	c := &checker{History: h, rows: make(map[string][]Row), byID: make(map[messageID][]Row)}
	for _, r := range h.Rows {
		c.rows[r.Group] = append(c.rows[r.Group], r)
		id := messageID{r.Group, r.ClientID}
		c.byID[id] = append(c.byID[id], r)
	}
	for _, rows := range c.rows {
		slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return c
}

func (c *checker) failed(check, format string, args ...any) {
	c.found = append(c.found, Violation{check, fmt.Sprintf(format, args...)})
}

// rowsIn are a group's rows in a range of seqs, both ends inclusive.
func (c *checker) rowsIn(group string, from, to int64) []Row {
	rows := c.rows[group]
	first := sort.Search(len(rows), func(i int) bool { return rows[i].Seq >= from })
	end := sort.Search(len(rows), func(i int) bool { return rows[i].Seq > to })
	return rows[first:max(first, end)]
}

// checkAttempts compares the answers with the rows and with each other.
func (c *checker) checkAttempts() {
	acks := make(map[messageID][]*Attempt)
	for i := range c.Attempts {
		a := &c.Attempts[i]
		switch {
		case a.OK():
			id := messageID{a.Group, a.ClientID}
			acks[id] = append(acks[id], a)
			if a.Durable && a.Stored == Missing {
				c.failed(DurableLie, "%s/%d (%s) was durable, and MySQL did not have it", a.Group, a.Seq, a.ClientID)
			}
		case a.Answered > 0 && !a.Retry:
			c.failed(Refused, "%s in %s: %s", a.ClientID, a.Group, a.Code)
		}
	}
	for id, list := range acks {
		c.checkAcks(id, list)
	}
	for id, rows := range c.byID {
		if len(rows) > 1 {
			c.failed(StoredTwice, "%s in %s has seqs %d and %d", id.id, id.group, rows[0].Seq, rows[1].Seq)
		}
	}
}

func (c *checker) checkAcks(id messageID, acks []*Attempt) {
	slices.SortFunc(acks, func(a, b *Attempt) int { return cmp.Compare(a.Answered, b.Answered) })
	first := acks[0]
	for _, a := range acks[1:] {
		if a.Seq != first.Seq {
			c.failed(Duplicate, "%s in %s was given seq %d, then %d", id.id, id.group, first.Seq, a.Seq)
		} else if !a.Repeat {
			c.failed(Duplicate, "the repeat of %s/%d (%s) was answered as new", id.group, a.Seq, id.id)
		}
	}
	rows := c.byID[id]
	if len(rows) == 0 {
		c.failed(Lost, "%s/%d (%s), acknowledged at %v, is not stored", id.group, first.Seq, id.id, first.Answered)
	} else if !slices.ContainsFunc(rows, func(r Row) bool { return r.Seq == first.Seq }) {
		c.failed(WrongSeq, "%s in %s was acknowledged with seq %d and is stored with %d", id.id, id.group, first.Seq, rows[0].Seq)
	}
}

// place is a seq of a group.
type place struct {
	group string
	seq   int64
}

// checkSeqs looks at every message that anybody has seen: one seq, one message; and what was seen is stored.
func (c *checker) checkSeqs() {
	seen := make(map[place]string)
	see := func(group string, m Message) {
		at := place{group, m.Seq}
		if before, ok := seen[at]; !ok {
			seen[at] = m.ID
		} else if before != m.ID {
			c.failed(Reused, "%s/%d is %s and %s", group, m.Seq, before, m.ID)
			seen[at] = m.ID
		}
	}
	for _, r := range c.Rows {
		see(r.Group, Message{r.Seq, r.ClientID})
	}
	for i := range c.Attempts {
		if a := &c.Attempts[i]; a.OK() {
			see(a.Group, Message{a.Seq, a.ClientID})
		}
	}
	vanished := make(map[place]struct{})
	for _, v := range c.Views {
		for _, s := range v.Steps {
			for _, m := range s.Messages {
				see(v.Group, m)
				at := place{v.Group, m.Seq}
				if _, told := vanished[at]; !told && !c.stored(v.Group, m) {
					vanished[at] = struct{}{}
					c.failed(Vanished, "%s/%d (%s) was shown to %s and is not stored", v.Group, m.Seq, m.ID, v.User)
				}
			}
		}
	}
}

// stored tells that a message is stored with its seq.
func (c *checker) stored(group string, m Message) bool {
	return slices.ContainsFunc(c.byID[messageID{group, m.ID}], func(r Row) bool { return r.Seq == m.Seq })
}

// lane is a connection's way into a group: what goes there keeps its order.
type lane struct {
	conn  int
	group string
}

// checkOrder compares the seqs that the sends of a connection to a group got with the order of writing. A repeat tells
// nothing: its message was accepted earlier.
func (c *checker) checkOrder() {
	lanes := make(map[lane][]*Attempt)
	for i := range c.Attempts {
		if a := &c.Attempts[i]; a.OK() && !a.Repeat {
			l := lane{a.Conn, a.Group}
			lanes[l] = append(lanes[l], a)
		}
	}
	for l, list := range lanes {
		slices.SortFunc(list, func(a, b *Attempt) int { return cmp.Compare(a.Order, b.Order) })
		for i := 1; i < len(list); i++ {
			if a, b := list[i-1], list[i]; a.Seq >= b.Seq {
				c.failed(Reordered, "connection %d sent %s before %s, and they are %s/%d and %d", l.conn, a.ClientID, b.ClientID, l.group, a.Seq, b.Seq)
			}
		}
	}
}

// moment is the highest seq of a group that was known at a time.
type moment struct {
	at  time.Duration
	seq int64
}

// checkProgress finds seqs that were given to a message first sent when a higher one was acknowledged already, and
// groups whose max_seq was lower than such a one.
func (c *checker) checkProgress() {
	known := make(map[string][]moment)
	born := make(map[messageID]time.Duration) // first attempt
	for i := range c.Attempts {
		a := &c.Attempts[i]
		id := messageID{a.Group, a.ClientID}
		if first, ok := born[id]; !ok || a.Sent < first {
			born[id] = a.Sent
		}
		if a.OK() {
			known[a.Group] = append(known[a.Group], moment{a.Answered, a.Seq})
		}
	}
	for _, list := range known {
		slices.SortFunc(list, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
		for i := 1; i < len(list); i++ {
			list[i].seq = max(list[i].seq, list[i-1].seq)
		}
	}
	for i := range c.Attempts {
		a := &c.Attempts[i]
		if top := knownAt(known[a.Group], born[messageID{a.Group, a.ClientID}]); a.OK() && a.Seq <= top {
			c.failed(WentBack, "%s was sent when %s/%d was acknowledged, and got %d", a.ClientID, a.Group, top, a.Seq)
		}
	}
	for _, v := range c.Views {
		for _, s := range v.Steps {
			if top := knownAt(known[v.Group], s.Asked); s.Kind == Page && !s.Joins && s.MaxSeq < top {
				c.failed(WentBack, "max_seq of %s was %d for %s at %v, and %d was acknowledged before", v.Group, s.MaxSeq, v.User, s.At, top)
			}
		}
	}
}

func knownAt(moments []moment, at time.Duration) int64 {
	n := sort.Search(len(moments), func(i int) bool { return moments[i].at >= at })
	if n == 0 {
		return 0
	}
	return moments[n-1].seq
}

// checkHoles looks for rows in what MySQL calls holes.
func (c *checker) checkHoles() {
	for _, h := range c.Holes {
		if rows := c.rowsIn(h.Group, h.From, h.To); len(rows) > 0 {
			c.failed(HoleLies, "the stored hole %s/%d-%d covers %d rows, the first is %d", h.Group, h.From, h.To, len(rows), rows[0].Seq)
		}
	}
}

// checkMarks compares read marks and unread counts with what was written and answered.
func (c *checker) checkMarks() {
	type userGroup struct{ user, group string }
	least, most := make(map[userGroup]int64), make(map[userGroup]int64)
	for _, r := range c.Reads {
		at := userGroup{r.User, r.Group}
		least[at], most[at] = max(least[at], r.Answer), max(most[at], r.Seq)
	}
	for i := range c.Attempts { // writing moves the sender's mark, too
		if a := &c.Attempts[i]; a.OK() {
			at := userGroup{a.User, a.Group}
			least[at], most[at] = max(least[at], a.Seq), max(most[at], a.Seq)
		}
	}
	for _, r := range c.Rows {
		at := userGroup{r.User, r.Group}
		most[at] = max(most[at], r.Seq)
	}
	for _, m := range c.Marks {
		at := userGroup{m.User, m.Group}
		if m.Read < least[at] || m.Read > most[at] {
			c.failed(Unread, "%s in %s: read_seq is %d, it was told %d and asked for at most %d", m.User, m.Group, m.Read, least[at], most[at])
		}
		if want := int64(len(c.rowsIn(m.Group, m.Read+1, 1<<62))); m.Unread != want {
			c.failed(Unread, "%s in %s: unread is %d, %d rows are above %d", m.User, m.Group, m.Unread, want, m.Read)
		}
	}
}

// edgeMS is how far a message may be from the edge of the window for both answers to be right.
const edgeMS = 5000

// checkRanking compares the ranking with a count over the rows.
func (c *checker) checkRanking() {
	if c.Ranking == nil {
		return
	}
	ranked := make(map[string]Entry)
	for _, e := range c.Ranking.Entries {
		ranked[e.Group] = e
	}
	since := c.Ranking.TimeMS - c.Ranking.WindowMS
	groups := maps.Keys(c.rows)
	for _, group := range slices.Sorted(groups) {
		surely, perhaps := make(map[string]struct{}), make(map[string]struct{})
		for _, r := range c.rows[group] {
			if r.TimeMS > since-edgeMS {
				perhaps[r.User] = struct{}{}
			}
			if r.TimeMS > since+edgeMS {
				surely[r.User] = struct{}{}
			}
		}
		if got := ranked[group].Heat; got < len(surely) || got > len(perhaps) {
			c.failed(Heat, "heat of %s is %d, %d to %d people spoke there", group, got, len(surely), len(perhaps))
		}
		delete(ranked, group)
	}
	for group, e := range ranked {
		c.failed(Heat, "heat of %s is %d, and nobody spoke there", group, e.Heat)
	}
	hotter := func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Heat, a.Heat), cmp.Compare(b.LastMS, a.LastMS), cmp.Compare(a.Group, b.Group))
	}
	if !slices.IsSortedFunc(c.Ranking.Entries, hotter) {
		c.failed(Heat, "the ranking is out of order")
	}
}
