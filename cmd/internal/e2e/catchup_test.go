package e2e

import (
	"context"
	"fmt"
	"testing"
)

// mark is a user's place in a group.
type mark struct {
	ReadSeq int64 `json:"read_seq"`
	Unread  int64 `json:"unread"`
}

// TestCatchUpWithOneSync: alice reads, goes away, misses a different number of messages in each of 20 groups, and gets
// exactly those with one sync on the other instance.
func TestCatchUpWithOneSync(t *testing.T) {
	t.Parallel()
	const groups = 20
	s := newStack(t, setup{instances: 2})
	for _, g := range names("g", groups) {
		s.createGroup("group", g, "alice", "bob")
	}
	bob := s.connect(0, "bob")
	alice := s.connect(0, "alice")
	want := make(map[string][]ack) // all of bob's messages
	speak := func(group string, n int) {
		for range n {
			text := say("bob", group, len(want[group]))
			want[group] = append(want[group], ack{sent: bob.send(group, text), From: "bob", Body: compactText(text)})
		}
	}
	seen := make(map[string]int64)
	for i, g := range names("g", groups) {
		speak(g, i%4)
		alice.awaitPushes(g, i%4)
		seen[g] = int64(i % 4)
	}
	alice.close()
	for i, g := range names("g", groups) {
		speak(g, i*2) // nothing in g0, 38 in g19
	}

	marks := make(map[string]mark) // of alice, as they have to be
	for i, g := range names("g", groups) {
		marks[g] = mark{0, int64(i%4 + i*2)}
	}
	alice = s.connect(1, "alice")
	s.syncsMissed(alice, seen, want, marks)
	for _, n := range []int{0, 1} {
		s.sameMarks(n, marks)
	}

	for i, g := range names("g", groups) {
		top := marks[g].Unread
		if top == 0 {
			continue
		}
		to := max(1, top-int64(i%3)) // some to the end, some not quite
		var got mark
		alice.do("read", fields{"group": g, "seq": to}, &got)
		marks[g] = mark{to, top - to}
		if got != marks[g] {
			t.Errorf("read %d in %s: got %+v, want %+v", to, g, got, marks[g])
		}
	}
	t.Run("marks on both instances", func(t *testing.T) {
		s.in(t).sameMarks(0, marks)
		s.in(t).sameMarks(1, marks)
	})
	t.Run("marks only move forward and end at max_seq", func(t *testing.T) {
		var got mark
		alice.do("read", fields{"group": "g19", "seq": 1}, &got)
		if got != marks["g19"] {
			t.Errorf("read backwards: got %+v, want %+v", got, marks["g19"])
		}
		s.user(0, "alice").post("/v1/groups/g18/read", fields{"seq": 1 << 40}).ok(200, &got)
		marks["g18"] = mark{marks["g18"].ReadSeq + marks["g18"].Unread, 0}
		if got != marks["g18"] {
			t.Errorf("read beyond the end: got %+v, want %+v", got, marks["g18"])
		}
	})
	t.Run("a send moves its sender's mark", func(t *testing.T) {
		top := int64(len(want["g7"]))
		var got page
		s.user(1, "bob").post("/v1/sync", fields{"groups": fields{"g7": top}}).ok(200, &struct{ Results []*page }{[]*page{&got}})
		if got.ReadSeq != top || got.Unread != 0 {
			t.Errorf("bob in g7: got %+v, want read_seq %d, unread 0", got, top)
		}
	})
	t.Run("marks in MySQL", func(t *testing.T) { s.in(t).sameMarksInMySQL(marks) })
	for _, i := range s.instances {
		i.kill()
	}
	for _, i := range s.instances {
		i.up()
	}
	t.Run("marks after a restart of both", func(t *testing.T) {
		s.in(t).sameMarks(0, marks)
		s.in(t).sameMarks(1, marks)
	})
	t.Run("what was missed after a restart of both", func(t *testing.T) {
		s := s.in(t)
		s.syncsMissed(s.connect(0, "alice"), seen, want, marks)
	})
}

// syncsMissed does one sync from seen and compares every result.
func (s *stack) syncsMissed(c *client, seen map[string]int64, want map[string][]ack, marks map[string]mark) {
	s.t.Helper()
	var got struct{ Results []page }
	c.do("sync", fields{"groups": seen}, &got)
	if len(got.Results) != len(seen) {
		s.t.Fatalf("results of sync: got %d, want %d", len(got.Results), len(seen))
	}
	for _, p := range got.Results {
		after, top := seen[p.Group], int64(len(want[p.Group]))
		if p.Error != nil || p.More || p.MaxSeq != top || (p.MinSeq != 1) {
			s.t.Fatalf("sync of %s: got %+v, want all up to %d", p.Group, p, top)
		}
		if len(p.Holes) > 0 {
			s.t.Errorf("sync of %s: holes: got %v, want none", p.Group, p.Holes)
		}
		sameMessages(s.t, "sync of "+p.Group, p.Messages, want[p.Group][after:])
		if (mark{p.ReadSeq, p.Unread}) != marks[p.Group] {
			s.t.Errorf("marks of sync of %s: got %d, %d, want %+v", p.Group, p.ReadSeq, p.Unread, marks[p.Group])
		}
	}
}

// head is a result of sync without groups.
type head struct {
	Group string `json:"group"`
	Type  string `json:"type"`
	Name  string `json:"name"`
	mark
	MaxSeq int64    `json:"max_seq"`
	Last   *message `json:"last_message"`
}

// sameMarks asks an instance for alice's conversations: all of them, most recently active first, with these marks.
func (s *stack) sameMarks(n int, want map[string]mark) {
	s.t.Helper()
	var got struct {
		Results []head
		Cursor  string
	}
	s.user(n, "alice").post("/v1/sync", nil).ok(200, &got)
	if len(got.Results) != len(want) || got.Cursor != "" {
		s.t.Fatalf("conversations: got %d and cursor %q, want %d", len(got.Results), got.Cursor, len(want))
	}
	last := int64(1 << 60)
	for _, h := range got.Results {
		if h.mark != want[h.Group] {
			s.t.Errorf("%s on %s: got %+v, want %+v", h.Group, s.instances[n].name, h.mark, want[h.Group])
		}
		if h.Last == nil {
			if h.MaxSeq != 0 {
				s.t.Errorf("%s: no last_message, max_seq %d", h.Group, h.MaxSeq)
			}
			continue
		}
		if h.Last.Seq != h.MaxSeq || h.Last.TimeMS > last {
			s.t.Errorf("%s: last message %d at %d behind one at %d; max_seq %d", h.Group, h.Last.Seq, h.Last.TimeMS, last, h.MaxSeq)
		}
		last = h.Last.TimeMS
	}
}

// sameMarksInMySQL waits until group_read has alice's marks.
func (s *stack) sameMarksInMySQL(want map[string]mark) {
	s.t.Helper()
	await(s.t, patience, "alice's marks in group_read", func() (bool, any) {
		got, err := s.marksInMySQL("alice")
		if err != nil {
			return false, err
		}
		for group, mark := range want {
			if got[group] != mark.ReadSeq {
				return false, fmt.Sprintf("%s: %d, want %d", group, got[group], mark.ReadSeq)
			}
		}
		return true, nil
	})
}

func (s *stack) marksInMySQL(user string) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, "SELECT group_id, read_seq FROM group_read WHERE user_id = ?", user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	marks := make(map[string]int64)
	for rows.Next() {
		var group string
		var seq int64
		if err := rows.Scan(&group, &seq); err != nil {
			return nil, err
		}
		marks[group] = seq
	}
	return marks, rows.Err()
}
