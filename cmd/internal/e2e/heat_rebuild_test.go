package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const rebuildWindow = 5 * time.Minute // nobody drops out while the test looks

// TestHeatComesBack: what emptied or restarted Redis knew of heat is counted again from MySQL, while people go on
// talking.
func TestHeatComesBack(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, redis: []string{"--appendonly", "yes", "--appendfsync", "always"}, env: map[string]string{
		"HEARTH_HEAT_WINDOW": rebuildWindow.String(), "HEARTH_HEAT_SNAPSHOT_TTL": "100ms",
		"HEARTH_DIRECT_STRANGER_LIMIT": "0",
	}})
	const users = 12
	rooms := names("room", 25)
	for _, r := range rooms {
		s.createGroup("room", r)
	}
	s.createGroup("group", "private", "u0", "u1", "u2")
	clients := make([]*client, users)
	for u := range clients {
		clients[u] = s.connect(u%2, fmt.Sprintf("u%d", u))
	}
	said := &speech{}
	burst := 0
	chat := func() {
		t.Helper()
		for u, c := range clients {
			if err := talk(c, said, u, burst, rooms); err != nil {
				t.Fatal(err)
			}
		}
		s.server(0).post("/v1/groups/room0/messages", fields{"body": textBody(quiet)}).ok(http.StatusCreated, nil)  // system
		s.user(0, "u0").post("/v1/direct/u1/messages", fields{"body": textBody(quiet)}).ok(http.StatusCreated, nil) // direct
		burst++
	}
	chat()
	for _, loss := range []struct {
		name   string
		happen func() error
		partly bool // for a moment Redis says that its heat is whole when it is not
	}{
		{"emptied", func() error { return s.rdb.FlushAll(t.Context()).Err() }, false},
		{"restarted", s.redis.Restart, false},
		{"restarted without its heat", s.restartWithoutHeat, true},
	} {
		s.awaitPersisted(patience)
		s.rightHeat(t, loss.name+", before", said, patience)
		stop := func() {}
		if !loss.partly {
			stop = s.neverPartOf(t, loss.name, said.speakers())
		}
		if err := loss.happen(); err != nil {
			t.Fatal(err)
		}
		s.rightHeat(t, loss.name, said, patience)
		stop()
		chat()
		s.rightHeat(t, loss.name+", and people talk", said, patience)
		s.heatAgreesWithSpeakers(t)
	}
}

func (s *stack) restartWithoutHeat() error {
	s.deleteKeys("hearth:{*}:speakers")
	s.deleteKeys("hearth:{*}:heat")
	return s.redis.Restart()
}

// speakers counts the distinct users who spoke in each group.
func (s *speech) speakers() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[[2]string]bool{}
	counts := map[string]int{}
	for _, m := range s.said {
		if who := [2]string{m.group, m.user}; !known[who] {
			known[who] = true
			counts[m.group]++
		}
	}
	return counts
}

// heatAgreesWithSpeakers compares the two keys of every partition.
func (s *stack) heatAgreesWithSpeakers(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for p := range 16 {
		prefix := fmt.Sprintf("hearth:{%d}:", p)
		speakers, err := s.rdb.ZRange(ctx, prefix+"speakers", 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]float64{}
		for _, member := range speakers {
			group, _, _ := strings.Cut(member, "|")
			counts[group]++
		}
		heat, err := s.rdb.ZRangeWithScores(ctx, prefix+"heat", 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, z := range heat {
			got[fmt.Sprint(z.Member)] = z.Score
		}
		if !maps.Equal(got, counts) {
			t.Errorf("heat of partition %d: got %v, speakers are %v", p, got, counts)
		}
	}
}

// neverPartOf asks all the time, until stop is called: a ranking that is answered is all of what it has to be.
func (s *stack) neverPartOf(t *testing.T, when string, want map[string]int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for n := range s.instances {
		asking.Go(func() {
			for ctx.Err() == nil {
				a, err := s.server(n).try(http.MethodGet, "/v1/groups/hot?type=all&limit=200", nil)
				if err == nil && a.Status == http.StatusOK {
					var p hotPage
					a.ok(http.StatusOK, &p)
					if got := p.heat(); !maps.Equal(got, want) {
						t.Errorf("%s: a ranking of instance %d: got %v, want %v", when, n, got, want)
						return
					}
				}
				pause(ctx, pollEvery)
			}
		})
	}
	stop = func() { cancel(); asking.Wait() }
	t.Cleanup(stop)
	return stop
}

func (p *hotPage) heat() map[string]int {
	heat := map[string]int{}
	for _, e := range p.Groups {
		heat[e.Group] = e.Heat
	}
	return heat
}

// rightHeat waits until both instances rank as a count of the messages does.
func (s *stack) rightHeat(t *testing.T, when string, said *speech, within time.Duration) {
	t.Helper()
	want := said.speakers()
	begun := time.Now()
	for n := range s.instances {
		await(t, within, when+": the ranking is right", func() (bool, any) {
			a, err := s.server(n).try(http.MethodGet, "/v1/groups/hot?type=all&limit=200", nil)
			if err != nil || a.Status != http.StatusOK {
				return false, fmt.Sprint(a, err)
			}
			var p hotPage
			a.ok(http.StatusOK, &p)
			got := p.heat()
			return maps.Equal(got, want), fmt.Sprintf("%v, want %v", got, want)
		})
	}
	t.Logf("%s: right after %v", when, time.Since(begun).Round(time.Millisecond))
}
