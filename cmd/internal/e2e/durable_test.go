package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestDurableUnderLoad: a thousand durable sends a second on two instances. Each answer means a row; MySQL frozen in the
// middle makes none of them wait for longer than it was told to, and none of them lie.
func TestDurableUnderLoad(t *testing.T) {
	t.Parallel()
	const (
		senders = 20
		pause   = 20 * time.Millisecond // of each: 1,000/s together
		timeout = 2 * time.Second
	)
	s := newStack(t, setup{instances: 2, ownMySQL: true})
	users, groups := names("u", senders), names("g", 10)
	for _, g := range groups {
		s.createGroup("group", g, users...)
	}
	clients := make([]*client, senders)
	for n, user := range users {
		clients[n] = s.connect(n%len(s.instances), user)
	}
	talk := func(round string, length time.Duration) (took []time.Duration, durable, accepted []ack) {
		var mu sync.Mutex // guards took, durable and accepted
		var sending sync.WaitGroup
		for n, c := range clients {
			sending.Go(func() {
				tick := time.NewTicker(pause)
				defer tick.Stop()
				for i, begun := 0, time.Now(); time.Since(begun) < length; i++ {
					<-tick.C
					a := ack{From: c.user, ClientID: fmt.Sprint(round, "-", c.user, "-", i), Body: compactText(say(i))}
					asked := time.Now()
					reply, err := c.ask("send", fields{
						"group": groups[(n+i)%len(groups)], "client_id": a.ClientID, "body": textBody(say(i)), "ack": "durable", "timeout_ms": timeout.Milliseconds(),
					})
					if err != nil {
						t.Errorf("%s: %v", c.user, err)
						return
					}
					sending.Go(func() {
						if err := c.result(reply, &a.sent); err != nil {
							t.Errorf("%s: %v", c.user, err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						took = append(took, time.Since(asked))
						if a.Durable {
							durable = append(durable, a)
						} else {
							accepted = append(accepted, a)
						}
					})
				}
			})
		}
		sending.Wait()
		slices.Sort(took)
		return took, durable, accepted
	}
	took, durable, accepted := talk("there", length(3*time.Second, 20*time.Second))
	t.Logf("%d durable acks: p50 %v, p99 %v, slowest %v", len(durable),
		took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	if len(accepted) > 0 {
		t.Errorf("with MySQL there, %d sends were not durable after %v", len(accepted), timeout)
	}
	s.haveRows(t, durable) // before anything else can write them

	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	took, late, accepted := talk("away", 3*time.Second)
	t.Logf("MySQL frozen: %d sends answered durable:false, the slowest after %v", len(accepted), took[len(took)-1].Round(time.Millisecond))
	if len(late) > 0 || took[len(took)-1] > timeout+slowest {
		t.Errorf("MySQL frozen: %d durable acks, the slowest answer after %v", len(late), took[len(took)-1])
	}
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	s.exactlyOnce(slices.Concat(durable, accepted))
}

// haveRows fails for acknowledgements without a row.
func (s *stack) haveRows(t *testing.T, acks []ack) {
	t.Helper()
	stored := make(map[string]map[int64]bool)
	for _, r := range s.rows() {
		if stored[r.Group] == nil {
			stored[r.Group] = make(map[int64]bool)
		}
		stored[r.Group][r.Seq] = true
	}
	for _, a := range acks {
		if !stored[a.Group][a.Seq] {
			t.Errorf("%s/%d: durable, and without a row", a.Group, a.Seq)
		}
	}
}
