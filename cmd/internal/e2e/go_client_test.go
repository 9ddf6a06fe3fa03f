package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	goclient "hearth/transport/client"
)

// visitor is a user of the Go client: what he saw of each group, in the order of the calls.
type visitor struct {
	*goclient.Client
	user string

	mu       sync.Mutex // guards what follows
	saw      map[string][]goclient.Message
	live     map[string]bool // groups that were caught up with once
	connects int
}

func (s *stack) visit(user, base string, room string) *visitor {
	s.t.Helper()
	v := &visitor{user: user, saw: make(map[string][]goclient.Message), live: make(map[string]bool)}
	c, err := goclient.New(goclient.Config{
		URLs:  []string{base},
		Token: func(context.Context) (string, error) { return token(user), nil },
		All:   true,
		OnMessage: func(m goclient.Message) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.saw[m.Group] = append(v.saw[m.Group], m)
		},
		OnLive: func(group string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.live[group] = true
		},
		OnHole: func(group string, h goclient.Hole) { s.t.Errorf("%s: a hole in %s: %+v", user, group, h) },
		OnState: func(state goclient.State) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if state.Connected {
				v.connects++
			}
		},
		OnGroupError: func(group string, err error) { s.t.Errorf("%s: no longer in %q: %v", user, group, err) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	v.Client = c
	c.Follow(room, 0)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("%s: Run: got %v, want nil after the cancel", user, err)
		}
	})
	return v
}

// isLive reports whether what is sent to a group from now on is seen.
func (v *visitor) isLive(group string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.live[group]
}

func (v *visitor) seen(group string) []goclient.Message {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.saw[group])
}

// TestGoClients: users of the Go client talk through a load balancer while each instance is killed or told to leave.
// Every send succeeds without the caller's help, once, and everybody sees everything, in order.
func TestGoClients(t *testing.T) {
	t.Parallel()
	const visitors, each = 12, 40
	s := newStack(t, setup{instances: 3})
	lb := "http://" + s.behindNginx().Addr()
	users := names("v", visitors)
	s.createGroup("group", "g", users...)
	s.createGroup("room", "r")
	var crowd []*visitor
	for _, user := range users {
		crowd = append(crowd, s.visit(user, lb, "r"))
	}
	for _, v := range crowd { // a group that the server brings begins with what is sent behind the connect
		await(t, patience, v.user+" listens", func() (bool, any) { return v.isLive("g") && v.isLive("r"), nil })
	}
	var talking sync.WaitGroup
	var mu sync.Mutex // guards acked
	var acked []ack
	for _, v := range crowd {
		talking.Go(func() {
			for n := range each {
				group, text := []string{"g", "r"}[n%2], say(v.user, n)
				receipt, err := v.Send(t.Context(), goclient.Draft{Group: group, ClientID: fmt.Sprint(v.user, "-", n), Body: goclient.Text(text)})
				if err != nil {
					t.Errorf("%s: send %d: %v", v.user, n, err)
					return
				}
				mu.Lock()
				acked = append(acked, ack{
					sent: sent{Group: group, Seq: receipt.Seq, TimeMS: receipt.TimeMS}, From: v.user,
					ClientID: fmt.Sprint(v.user, "-", n), Body: compactText(text),
				})
				mu.Unlock()
			}
		})
	}
	for n, end := range []func(*process){(*process).kill, (*process).stop, (*process).kill} { // one after the other
		await(t, patience, "more sends", func() (bool, any) {
			mu.Lock()
			defer mu.Unlock()
			return len(acked) >= (n+1)*visitors*each/4, len(acked)
		})
		end(&s.instances[n].process)
		s.instances[n].up()
	}
	talking.Wait()
	for _, v := range crowd {
		for _, group := range []string{"g", "r"} {
			want := ofGroup(acked, group)
			await(t, patience, v.user+" has seen all of "+group, func() (bool, any) {
				got := len(v.seen(group))
				return got >= len(want), fmt.Sprint(got, " of ", len(want))
			})
			v.sawAll(t, group, want)
		}
	}
	s.exactlyOnce(acked)
	connects := 0
	for _, v := range crowd {
		v.mu.Lock()
		connects += v.connects
		v.mu.Unlock()
	}
	t.Logf("%d messages, %d connects of %d clients", len(acked), connects, visitors)
	if connects <= visitors {
		t.Errorf("connects: got %d, want more than %d: nobody was cut off", connects, visitors)
	}
}

// sawAll compares what the client's callback got with what was acknowledged, in order.
func (v *visitor) sawAll(t *testing.T, group string, want []ack) {
	t.Helper()
	got := v.seen(group)
	if len(got) != len(want) {
		t.Fatalf("%s in %s: got %d messages, want %d", v.user, group, len(got), len(want))
	}
	for n, m := range got {
		if m.Seq != want[n].Seq || m.From != want[n].From || string(m.Body) != want[n].Body {
			t.Fatalf("%s in %s, message %d: got seq %d from %s %s, want seq %d from %s %s",
				v.user, group, n, m.Seq, m.From, m.Body, want[n].Seq, want[n].From, want[n].Body)
		}
	}
}
