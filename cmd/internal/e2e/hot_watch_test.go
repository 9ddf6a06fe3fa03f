package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	goclient "hearth/transport/client"
)

// boards are the rankings that a connection was shown.
func (c *client) boards() (boards []hotPage) {
	c.t.Helper()
	for _, f := range c.seen() {
		if f.Event != "hot" {
			continue
		}
		var p hotPage
		if err := json.Unmarshal(f.raw, &p); err != nil {
			c.t.Fatal(err)
		}
		boards = append(boards, p)
	}
	return boards
}

// sees waits until the last ranking that a connection was shown has these rooms in this order.
func (c *client) sees(rooms ...string) {
	c.t.Helper()
	await(c.t, patience, "the ranking that everybody sees", func() (bool, any) {
		boards := c.boards()
		if len(boards) == 0 {
			return false, nil
		}
		var shown []string
		for _, e := range boards[len(boards)-1].Groups {
			shown = append(shown, e.Group)
		}
		return slices.Equal(shown, rooms), boards[len(boards)-1]
	})
}

// TestHotIsShownToWhoWatches: connections of two instances see the rooms, and nothing but rooms, as they move, leave and
// come to an end, each only where something is another than before.
func TestHotIsShownToWhoWatches(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_HEAT_SNAPSHOT_TTL": "100ms"}})
	for _, r := range []string{"a", "b", "c"} {
		s.createGroup("room", r)
	}
	s.createGroup("group", "private", "u0", "u1", "u2")
	u := []*client{s.connect(0, "u0"), s.connect(1, "u1"), s.connect(0, "u2")}
	watchers := []*client{s.connect(0, "eve"), s.connect(1, "zoe")}
	for _, w := range watchers {
		w.do("hot", fields{"watch": true}, nil)
		w.sees()
	}
	talk := func(users int, rooms ...string) {
		for _, r := range rooms {
			for _, c := range u[:users] {
				c.send(r, say(r))
			}
		}
	}
	talk(3, "private")
	talk(1, "a", "b")
	talk(2, "c")
	for _, w := range watchers {
		w.sees("c", "b", "a")
	}
	talk(3, "a")
	for _, w := range watchers {
		w.sees("a", "c", "b")
	}
	short := s.connect(1, "tom")
	short.do("hot", fields{"watch": true, "limit": 1}, nil)
	short.sees("a")
	s.server(0).delete("/v1/groups/c").ok(204, nil)
	for _, w := range watchers {
		w.sees("a", "b")
	}
	again := s.connect(0, "eve") // who reconnects asks again
	again.do("hot", fields{"watch": true}, nil)
	again.sees("a", "b")
	for _, c := range append(watchers, again, short) {
		boards := c.boards()
		for i, b := range boards {
			if i > 0 && slices.Equal(b.Groups, boards[i-1].Groups) && b.Cursor == "" && boards[i-1].Cursor == "" {
				t.Errorf("%s: the same ranking twice: %+v", c.user, b)
			}
			if b.WindowMS != 300_000 || b.Snapshot == "" || i > 0 && b.TimeMS < boards[i-1].TimeMS {
				t.Errorf("%s: a ranking of another form, or an older one: %+v", c.user, b)
			}
		}
	}
	var next hotPage // the cursor of what is shown pages on
	last := short.boards()
	s.user(0, "tom").get("/v1/groups/hot?cursor="+last[len(last)-1].Cursor).ok(200, &next)
	if len(next.Groups) != 1 || next.Groups[0].Group != "b" {
		t.Errorf("behind the first rank: got %+v, want b", next.Groups)
	}
	watchers[0].do("hot", fields{"watch": false}, nil)
	shown := len(watchers[0].boards())
	talk(3, "b")
	watchers[1].sees("b", "a")
	if got := len(watchers[0].boards()); got != shown {
		t.Errorf("rankings after the end of watching: got %d, want none", got-shown)
	}
}

// TestTheGoClientIsShownTheRanking: by OnEvent, as the server wrote it.
func TestTheGoClientIsShownTheRanking(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("room", "a")
	s.connect(0, "u0").send("a", say("hello"))
	var mu sync.Mutex // guards shown
	var shown []byte
	c, err := goclient.New(goclient.Config{
		URLs:  []string{"http://" + s.instances[0].addr},
		Token: func(context.Context) (string, error) { return token("bot"), nil },
		OnEvent: func(name string, raw json.RawMessage) {
			mu.Lock()
			defer mu.Unlock()
			if name == "hot" {
				shown = slices.Clone(raw)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := c.Do(ctx, "hot", fields{"watch": true, "limit": 5}, nil); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the room in the ranking", func() (bool, any) {
		mu.Lock()
		defer mu.Unlock()
		var p hotPage
		if len(shown) == 0 {
			return false, nil
		}
		if err := json.Unmarshal(shown, &p); err != nil {
			t.Fatal(err)
		}
		return len(p.Groups) == 1 && p.Groups[0].Group == "a" && p.Groups[0].Heat == 1, p
	})
}
