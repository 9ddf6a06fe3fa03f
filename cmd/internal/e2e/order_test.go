package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestEverybodySeesTheSame: 50 users in 10 groups send 10,000 messages through two instances. Group 0 gets more than
// Redis keeps, so that its pages come from both stores.
func TestEverybodySeesTheSame(t *testing.T) {
	t.Parallel()
	const users, groups, each = 50, 10, 200
	s := newStack(t, setup{instances: 2})
	members := make([][]string, groups)
	for u := range users {
		for _, g := range groupsOf(u) {
			members[g] = append(members[g], fmt.Sprintf("u%d", u))
		}
	}
	for g := range members {
		s.createGroup("group", fmt.Sprintf("g%d", g), members[g]...)
	}
	clients := make([]*client, users)
	for u := range clients {
		clients[u] = s.connect(u%2, fmt.Sprintf("u%d", u))
		var welcome struct {
			Subscribed    int  `json:"subscribed"`
			SubscribedAll bool `json:"subscribed_all"`
		}
		if err := json.Unmarshal(clients[u].seen()[0].raw, &welcome); err != nil {
			t.Fatal(err)
		}
		if welcome.Subscribed != 2 || !welcome.SubscribedAll {
			t.Fatalf("welcome of u%d: got %+v, want both groups", u, welcome)
		}
	}

	answers := make([][]sent, users)
	var sending errgroup.Group
	for u, c := range clients {
		sending.Go(func() (err error) {
			answers[u], err = c.stream(each, 16, func(i int) fields {
				return fields{"group": fmt.Sprintf("g%d", target(u, i)), "body": textBody(say(u, i))}
			})
			return err
		})
	}
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	s.awaitRows(patience, users*each)
	took := time.Since(ended)
	t.Logf("last row %v after the last answer", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("all rows in MySQL: got after %v, want within a second of the end", took)
	}

	want := byGroup(t, answers, groups)
	for u, c := range clients {
		for _, g := range groupsOf(u) {
			samePushes(t, c, want[g])
		}
	}
	sameRows(t, s.rows(), want)
	t.Run("pulls from Redis and MySQL", func(t *testing.T) { samePulls(t, s.in(t), want, members) })
	if n := s.deleteKeys("hearth:{*}:recent:*"); n < groups {
		t.Fatalf("recent keys in Redis: got %d, want %d", n, groups)
	}
	t.Run("pulls from MySQL", func(t *testing.T) { samePulls(t, s.in(t), want, members) })
}

// groupsOf are the two groups of a user; everybody of group 0 has it first.
func groupsOf(u int) []int { return []int{u % 10, (u%10 + 1 + u/10) % 10} }

// target is the group of a user's i-th message: the members of group 0 send there only.
func target(u, i int) int {
	g := groupsOf(u)
	if slices.Contains(g, 0) {
		return 0
	}
	return g[i%2]
}

// byGroup puts the answers into the order of their seqs, which must be dense and rise with the order of writing.
func byGroup(t *testing.T, answers [][]sent, groups int) [][]ack {
	t.Helper()
	want := make([][]ack, groups)
	for u := range answers {
		last := make(map[string]int64)
		for i, a := range answers[u] {
			if a.Seq <= last[a.Group] {
				t.Fatalf("u%d, message %d: seq in %s: got %d after %d", u, i, a.Group, a.Seq, last[a.Group])
			}
			last[a.Group] = a.Seq
			g := target(u, i)
			want[g] = append(want[g], ack{sent: a, From: fmt.Sprintf("u%d", u), Body: compactText(say(u, i))})
		}
	}
	for g := range want {
		want[g] = ofGroup(want[g], fmt.Sprintf("g%d", g))
		for i, a := range want[g] {
			if a.Seq != int64(i+1) || a.Duplicate {
				t.Fatalf("answer %d of g%d: got seq %d (duplicate %v), want %d", i, g, a.Seq, a.Duplicate, i+1)
			}
		}
	}
	return want
}

func samePushes(t *testing.T, c *client, want []ack) {
	t.Helper()
	if len(want) == 0 {
		return
	}
	group := want[0].Group
	pushes := c.awaitPushes(group, len(want))
	got := make([]message, len(pushes))
	for i, p := range pushes {
		if got[i] = p.message; p.PrevSeq != 0 {
			t.Fatalf("%s: push %d in %s has prev_seq %d, and nothing is missing", c.user, p.Seq, group, p.PrevSeq)
		}
	}
	sameMessages(t, "pushes of "+group+" to "+c.user, got, want)
}

func sameRows(t *testing.T, rows []row, want [][]ack) {
	t.Helper()
	var all []row
	for _, acks := range want {
		for _, a := range acks {
			all = append(all, row{a.Group, a.Seq, a.From, "", a.Body})
		}
	}
	if len(rows) != len(all) {
		t.Fatalf("rows in MySQL: got %d, want %d", len(rows), len(all))
	}
	for i := range rows {
		if rows[i] != all[i] {
			t.Fatalf("row %d: got %+v, want %+v", i, rows[i], all[i])
		}
	}
}

// samePulls reads every group in both directions; the largest in pages of many sizes, through both doors.
func samePulls(t *testing.T, s *stack, want [][]ack, members [][]string) {
	for g, acks := range want {
		group := fmt.Sprintf("g%d", g)
		limits := []int{50, 200}
		if g == 0 {
			limits = []int{7, 33, 100, 199, 1000}
		}
		if g == 1 {
			limits = []int{1, 2}
		}
		c := s.connect(g%2, members[g][0])
		for n, limit := range limits {
			pull := overWebSocket(c, group)
			if n%2 == 1 {
				pull = overHTTP(s.user(1-g%2, members[g][1]), group)
			}
			messages, holes := forwards(t, pull, limit)
			if len(holes) > 0 {
				t.Fatalf("holes of %s: got %v, want none", group, holes)
			}
			sameMessages(t, fmt.Sprintf("%s forwards by %d", group, limit), messages, acks)
			sameMessages(t, fmt.Sprintf("%s backwards by %d", group, limit), backwards(t, pull, int64(len(acks)), limit), acks)
		}
	}
}
