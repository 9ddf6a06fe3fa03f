package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// soundHistory is a run in which every promise holds: two groups, three senders whose answers get lost at times, a Redis
// that loses its numbers in the middle, and readers who are pushed to, page, drop and come back.
func soundHistory(r *rand.Rand) *History {
	h := &History{Ranking: &Ranking{TimeMS: 100_000, WindowMS: 300_000}}
	clock, conn := time.Duration(0), 0
	tick := func() time.Duration { clock += time.Millisecond; return clock }
	for _, group := range []string{"a", "b"} {
		seq, order := int64(0), 0
		var users []string
		n := 12 + r.IntN(20)
		for i := range n {
			if i == n/2 {
				h.Holes = append(h.Holes, Hole{group, seq + 1, seq + 1000})
				seq += 1000
			}
			seq++
			order++
			a := Attempt{
				Conn: conn, Order: order, User: fmt.Sprint("u", r.IntN(3)), Group: group,
				ClientID: fmt.Sprintf("%s-%d", group, i), Sent: tick(), Durable: r.IntN(3) == 0,
			}
			if a.Durable {
				a.Stored = Found
			}
			if r.IntN(4) == 0 { // the answer is lost, the repeat on the next connection gets it
				h.Attempts = append(h.Attempts, a)
				conn++
				a.Conn, a.Repeat, a.Sent = conn, true, tick()
			}
			a.Answered, a.Seq = tick(), seq
			h.Attempts = append(h.Attempts, a)
			h.Rows = append(h.Rows, Row{Group: group, User: a.User, ClientID: a.ClientID, Seq: seq, TimeMS: 50_000 + seq})
			users = append(users, a.User)
		}
		slices.Sort(users)
		h.Ranking.Entries = append(h.Ranking.Entries, Entry{group, len(slices.Compact(users)), 50_000 + seq})
		conn++
	}
	slices.SortFunc(h.Ranking.Entries, func(a, b Entry) int {
		if a.Heat != b.Heat {
			return b.Heat - a.Heat
		}
		return int(b.LastMS - a.LastMS)
	})
	for _, group := range []string{"a", "b"} {
		for i := range 3 {
			conn = addSoundView(h, r, fmt.Sprint("r", i), group, conn, clock)
		}
	}
	return h
}

// addSoundView lets a user read a group to its end, then set his mark.
func addSoundView(h *History, r *rand.Rand, user, group string, conn int, end time.Duration) int {
	var rows []Row
	var hole Hole
	for _, row := range h.Rows {
		if row.Group == group {
			rows = append(rows, row)
		}
	}
	for _, other := range h.Holes {
		if other.Group == group {
			hole = Hole{From: other.From, To: other.To}
		}
	}
	top := rows[len(rows)-1].Seq
	v := View{User: user, Group: group}
	cursor := int64(0)
	live := false
	for len(rows) > 0 || !live {
		if live && r.IntN(5) > 0 {
			previous := rows[0].Seq - 1
			if rows[0].Seq == hole.To+1 {
				previous = hole.From - 1
			}
			v.Steps = append(v.Steps, Step{
				Kind: Push, Conn: conn, At: end, Live: true, Previous: previous,
				Messages: []Message{{rows[0].Seq, rows[0].ClientID}},
			})
			cursor, rows = rows[0].Seq, rows[1:]
			continue
		}
		conn++
		n := r.IntN(len(rows) + 1)
		page := Step{Kind: Page, Conn: conn, At: end, Asked: end + 1, After: cursor, MaxSeq: top, More: n < len(rows)}
		for _, row := range rows[:n] {
			page.Messages = append(page.Messages, Message{row.Seq, row.ClientID})
		}
		if n > 0 && page.More && r.IntN(3) > 0 { // the others are on their way
			page.Joins, page.MaxSeq, page.More = true, rows[n-1].Seq, false
		}
		if n > 0 {
			if last := rows[n-1].Seq; cursor < hole.From && hole.To < last {
				page.Holes = []Hole{hole}
			}
			cursor = rows[n-1].Seq
		}
		live = !page.More
		v.Steps, rows = append(v.Steps, page), rows[n:]
	}
	h.Views = append(h.Views, v)
	h.Reads = append(h.Reads, Read{User: user, Group: group, Seq: cursor, Answer: cursor})
	h.Marks = append(h.Marks, Mark{User: user, Group: group, Read: cursor})
	return conn + 1
}

func somewhere(r *rand.Rand, n int) int { return r.IntN(n) }

// acked is an attempt that was acknowledged, not at the ends of a group's half.
func acked(h *History, r *rand.Rand) *Attempt {
	for {
		if a := &h.Attempts[somewhere(r, len(h.Attempts))]; a.OK() {
			return a
		}
	}
}

// pushOf is a push of any view; nil if there is none.
func pushOf(h *History, r *rand.Rand) (*View, int) {
	for range 1000 {
		v := &h.Views[somewhere(r, len(h.Views))]
		if i := somewhere(r, len(v.Steps)); v.Steps[i].Kind == Push {
			return v, i
		}
	}
	return nil, 0
}

func withoutRow(h *History, a *Attempt) {
	h.Rows = slices.DeleteFunc(h.Rows, func(r Row) bool { return r.Group == a.Group && r.ClientID == a.ClientID })
}

// unseen takes a message out of all views, as if a hole had been told there.
func unseen(h *History, a *Attempt) {
	for i := range h.Views {
		for j := range h.Views[i].Steps {
			s := &h.Views[i].Steps[j]
			if h.Views[i].Group != a.Group {
				continue
			}
			if s.Kind == Push && s.Messages[0].ID == a.ClientID {
				*s = Step{Kind: Page, Conn: s.Conn, After: a.Seq - 1, MaxSeq: a.Seq, Holes: []Hole{{From: a.Seq, To: a.Seq}}, Asked: s.Asked}
			} else {
				n := len(s.Messages)
				s.Messages = slices.DeleteFunc(s.Messages, func(m Message) bool { return m.ID == a.ClientID })
				if len(s.Messages) < n {
					s.Holes = append(s.Holes, Hole{From: a.Seq, To: a.Seq})
					slices.SortFunc(s.Holes, func(a, b Hole) int { return int(a.From - b.From) })
				}
			}
		}
	}
}

// plants are one way each to break a promise; they report whether the history had a place for it. also are checks that
// cannot but fail with it.
var plants = []struct {
	check string
	name  string
	also  []string
	plant func(h *History, r *rand.Rand) bool
}{
	{Lost, "an acknowledged row is missing", []string{Heat}, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		withoutRow(h, a)
		unseen(h, a)
		return true
	}},
	{Vanished, "a message was pushed, its sender never got an answer, and it is not stored", []string{Heat}, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		withoutRow(h, a)
		a.Answered = 0
		return true
	}},
	{StoredTwice, "a repeat is a row of its own", []string{Gap}, func(h *History, r *rand.Rand) bool {
		row := h.Rows[somewhere(r, len(h.Rows))]
		row.Seq = 900_000
		h.Rows = append(h.Rows, row)
		for i := range h.Marks {
			if h.Marks[i].Group == row.Group {
				h.Marks[i].Unread = 1
			}
		}
		return true
	}},
	{WrongSeq, "the row has another seq", nil, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		for i := range h.Attempts { // the whole message, so that nobody else is surprised
			if b := &h.Attempts[i]; b.ClientID == a.ClientID && b != a {
				b.Answered = 0
			}
		}
		a.Seq, a.Repeat, a.Conn = a.Seq+2_000_000, true, -1
		a.Answered = 1 << 40 // after every other
		for i := range h.Marks {
			if h.Marks[i].User == a.User && h.Marks[i].Group == a.Group {
				return false
			}
		}
		return true
	}},
	{Reused, "a push shows another message at a seq", []string{Vanished, Gap}, func(h *History, r *rand.Rand) bool {
		v, i := pushOf(h, r)
		if v == nil {
			return false
		}
		v.Steps[i].Messages = []Message{{v.Steps[i].Messages[0].Seq, "another"}}
		return true
	}},
	{WentBack, "max_seq is lower than what was acknowledged", nil, func(h *History, r *rand.Rand) bool {
		for i := range h.Views {
			for j := range h.Views[i].Steps {
				if s := &h.Views[i].Steps[j]; s.Kind == Page && s.More {
					s.MaxSeq = 0
					return true
				}
			}
		}
		return false
	}},
	{WentBack, "a message that was sent late gets an early seq", nil, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		for i := range h.Attempts {
			if b := &h.Attempts[i]; b.ClientID == a.ClientID {
				b.Sent, b.Conn = b.Sent+time.Hour, -1
			}
		}
		a.Answered += time.Hour
		return a.Seq < 5
	}},
	{Reordered, "two sends of a connection change places", nil, func(h *History, r *rand.Rand) bool {
		for i := 1; i < len(h.Attempts); i++ {
			a, b := &h.Attempts[i-1], &h.Attempts[i]
			if a.Conn == b.Conn && a.Group == b.Group && a.OK() && b.OK() && !a.Repeat && !b.Repeat {
				a.Order, b.Order = b.Order, a.Order
				b.Sent = a.Sent
				return true
			}
		}
		return false
	}},
	{Reordered, "a push comes twice", nil, func(h *History, r *rand.Rand) bool {
		v, i := pushOf(h, r)
		if v == nil {
			return false
		}
		v.Steps = slices.Insert(v.Steps, i, v.Steps[i])
		return true
	}},
	{Gap, "a push is missing", nil, func(h *History, r *rand.Rand) bool {
		v, i := pushOf(h, r)
		if v == nil {
			return false
		}
		v.Steps = slices.Delete(v.Steps, i, i+1)
		return true
	}},
	{Gap, "a view ends early", nil, func(h *History, r *rand.Rand) bool {
		v := &h.Views[somewhere(r, len(h.Views))]
		n := len(v.Steps) - 1
		v.Steps = v.Steps[:n]
		return n > 0
	}},
	{HoleLies, "a hole is told where a message is stored", nil, func(h *History, r *rand.Rand) bool {
		unseen(h, acked(h, r))
		return true
	}},
	{HoleLies, "a stored hole covers a row", nil, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		h.Holes = append(h.Holes, Hole{a.Group, a.Seq, a.Seq})
		return true
	}},
	{Unread, "a mark has fallen", nil, func(h *History, r *rand.Rand) bool {
		m := &h.Marks[somewhere(r, len(h.Marks))]
		m.Read--
		m.Unread++
		return true
	}},
	{Unread, "the number is wrong", nil, func(h *History, r *rand.Rand) bool {
		h.Marks[somewhere(r, len(h.Marks))].Unread++
		return true
	}},
	{Heat, "a speaker counts twice", nil, func(h *History, r *rand.Rand) bool {
		h.Ranking.Entries[0].Heat++
		return true
	}},
	{Heat, "the order is wrong", nil, func(h *History, r *rand.Rand) bool {
		slices.Reverse(h.Ranking.Entries)
		return true
	}},
	{DurableLie, "durable without a row", nil, func(h *History, r *rand.Rand) bool {
		a := acked(h, r)
		a.Durable, a.Stored = true, Missing
		return true
	}},
	{Duplicate, "a repeat is answered as new", nil, func(h *History, r *rand.Rand) bool {
		a := *acked(h, r)
		a.Conn, a.Sent, a.Answered, a.Repeat = -1, a.Answered+time.Hour, a.Answered+2*time.Hour, false
		h.Attempts = append(h.Attempts, a)
		return true
	}},
	{Refused, "a good send is refused for ever", nil, func(h *History, r *rand.Rand) bool {
		h.Attempts = append(h.Attempts, Attempt{Conn: -1, User: "u0", Group: "a", ClientID: "x", Sent: 1, Answered: 2, Code: "not_found"})
		return true
	}},
}

func TestPlantedHistoriesTurnTheirCheckRed(t *testing.T) {
	t.Parallel()
	for _, p := range plants {
		t.Run(p.check+": "+p.name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
				h := soundHistory(r)
				if !p.plant(h, r) {
					t.Skip("no place for it")
				}
				counts := Count(Check(h))
				require.Positive(t, counts[p.check], "%s: found %v", p.check, counts)
				for check := range counts {
					require.Contains(t, append(p.also, p.check), check, "a check that is not concerned fails too")
				}
			})
		})
	}
}

func TestEveryCheckHasAPlantedHistory(t *testing.T) {
	t.Parallel()
	for _, check := range Checks() {
		found := check == Deadlocked // is not in a history
		for _, p := range plants {
			found = found || p.check == check
		}
		require.True(t, found, check)
	}
}

func TestSoundHistoriesPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := soundHistory(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		require.Empty(t, Check(h))
	})
}

// TestResyncTakesBackWhatWasTold: a hole that turned out to hold a message is forgiven to who was told to go back before
// it, and to nobody else.
func TestResyncTakesBackWhatWasTold(t *testing.T) {
	t.Parallel()
	told := []Step{
		{Kind: Page, MaxSeq: 3, Messages: []Message{{1, "a-1"}, {3, "a-3"}}, Holes: []Hole{{From: 2, To: 2}}},
		{Kind: Resync, After: 1},
		{Kind: Page, After: 1, MaxSeq: 3, Messages: []Message{{2, "a-2"}, {3, "a-3"}}},
	}
	h := &History{
		Rows:  []Row{{Group: "a", ClientID: "a-1", Seq: 1}, {Group: "a", ClientID: "a-2", Seq: 2}, {Group: "a", ClientID: "a-3", Seq: 3}},
		Views: []View{{User: "r", Group: "a", Steps: told}},
	}
	require.Empty(t, Check(h))
	h.Views[0].Steps = told[:1]
	require.Equal(t, map[string]int{HoleLies: 1}, Count(Check(h)))
	h.Views[0].Steps = told[:2]
	require.Equal(t, map[string]int{Gap: 1}, Count(Check(h)))
}
