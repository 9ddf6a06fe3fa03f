package chaos

import (
	"cmp"
	"slices"
	"time"
)

// Figures are what a run has cost.
type Figures struct {
	Sent, Acked   int // messages
	Violations    map[string]int
	Silence       time.Duration // the longest time in which a group took no message, from the first fault on
	Back          time.Duration // from the end of the last fault to the next message that was accepted, in the slowest group
	Stored        time.Duration // from the last answer to the last row
	Holes         int           // rows of holes in MySQL
	Resyncs       int
	Deadlocks     int // that the database has counted
	Unknown       int // attempts that were not answered, or with an error that may be tried again
	Notes         []string
	Found         []Violation
	First, Healed time.Duration
}

// FiguresOf counts a history. The faults lasted from first to healed, and the load to end.
func FiguresOf(h *History, first, healed, end time.Duration) Figures {
	f := Figures{Found: Check(h), Holes: len(h.Holes), First: first, Healed: healed}
	f.Violations = Count(f.Found)
	sent, acked := make(map[messageID]struct{}), make(map[messageID]struct{})
	answers := make(map[string][]time.Duration)
	for i := range h.Attempts {
		a := &h.Attempts[i]
		id := messageID{a.Group, a.ClientID}
		sent[id] = struct{}{}
		if !a.OK() {
			f.Unknown++
			continue
		}
		acked[id] = struct{}{}
		answers[a.Group] = append(answers[a.Group], a.Answered)
	}
	f.Sent, f.Acked = len(sent), len(acked)
	for _, list := range answers {
		slices.SortFunc(list, cmp.Compare)
		f.Silence = max(f.Silence, silence(list, first, end))
		if next, ok := after(list, healed); ok {
			f.Back = max(f.Back, next-healed)
		} else {
			f.Back = max(f.Back, end-healed)
		}
	}
	return f
}

// silence is the longest pause in moments that are in order, between from and to.
func silence(moments []time.Duration, from, to time.Duration) (longest time.Duration) {
	last := from
	for _, at := range moments {
		if at > from && at <= to {
			longest, last = max(longest, at-last), at
		}
	}
	return max(longest, to-last)
}

func after(moments []time.Duration, at time.Duration) (time.Duration, bool) {
	n, _ := slices.BinarySearch(moments, at)
	if n == len(moments) {
		return 0, false
	}
	return moments[n], true
}
