package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFiguresOfAHistory(t *testing.T) {
	t.Parallel()
	ok := func(group, id string, at, seq int) Attempt {
		return Attempt{Group: group, ClientID: id, Sent: time.Duration(at - 1), Answered: time.Duration(at), Seq: int64(seq), Order: seq}
	}
	h := &History{Attempts: []Attempt{
		ok("a", "a1", 10, 1), ok("a", "a2", 60, 2), ok("a", "a3", 90, 3),
		ok("b", "b1", 20, 1), ok("b", "b2", 70, 2),
		{Group: "b", ClientID: "b3", Sent: 75},
		{Group: "b", ClientID: "b2", Sent: 30, Answered: 40, Code: "unavailable", Retry: true},
	}, Holes: []Hole{{"a", 8, 9}}}
	f := FiguresOf(h, 15, 50, 100)
	require.Equal(t, []int{6, 5, 2, 1}, []int{f.Sent, f.Acked, f.Unknown, f.Holes})
	require.Equal(t, time.Duration(50), f.Silence, "group b, from 20 to 70")
	require.Equal(t, time.Duration(20), f.Back, "group b, at 70")
	require.Equal(t, map[string]int{Lost: 5}, f.Violations)
}
