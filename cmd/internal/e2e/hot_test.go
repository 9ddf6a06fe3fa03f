package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const heatWindow = 3 * time.Second

// hotPage is the answer of GET /v1/groups/hot.
type hotPage struct {
	Snapshot string     `json:"snapshot"`
	TimeMS   int64      `json:"time_ms"`
	WindowMS int64      `json:"window_ms"`
	Groups   []hotEntry `json:"groups"`
	Cursor   string     `json:"cursor"`
}

type hotEntry struct {
	Rank   int    `json:"rank"`
	Group  string `json:"group"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Heat   int    `json:"heat"`
	LastMS int64  `json:"last_message_ms"`
}

// spoken is what a brute-force count needs of a message.
type spoken struct {
	group, user string
	timeMS      int64
}

// speech collects what was said.
type speech struct {
	mu   sync.Mutex // guards said
	said []spoken
}

func (s *speech) add(group, user string, timeMS int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, spoken{group, user, timeMS})
}

// rank counts the ranking at a moment, ignoring nothing that was said in (at-window, at].
func (s *speech) rank(at int64, listed func(group string) bool) []hotEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	speakers := make(map[string]map[string]bool)
	last := make(map[string]int64)
	for _, m := range s.said {
		last[m.group] = max(last[m.group], m.timeMS)
		if m.timeMS > at || m.timeMS <= at-heatWindow.Milliseconds() || !listed(m.group) {
			continue
		}
		if speakers[m.group] == nil {
			speakers[m.group] = make(map[string]bool)
		}
		speakers[m.group][m.user] = true
	}
	var entries []hotEntry
	for group, users := range speakers {
		entries = append(entries, hotEntry{Group: group, Name: group, Heat: len(users), LastMS: last[group]})
	}
	slices.SortFunc(entries, hotterFirst)
	for i := range entries {
		entries[i].Rank = i + 1
	}
	return entries
}

func hotterFirst(a, b hotEntry) int {
	return cmp.Or(b.Heat-a.Heat, cmp.Compare(b.LastMS, a.LastMS), cmp.Compare(a.Group, b.Group))
}

// quietAround reports that nothing was said shortly before or after a moment, nor shortly around the end of the
// window: instances take a snapshot of 16 partitions one after the other, and what is said meanwhile may count or not.
func (s *speech) quietAround(at int64) bool {
	const margin = 150
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.said {
		if d := at - m.timeMS; max(d, -d) < margin {
			return false
		}
		if d := at - heatWindow.Milliseconds() - m.timeMS; max(d, -d) < margin {
			return false
		}
	}
	return true
}

// TestHotRoomsAreCounted: bursts of talk in many rooms, and in the breaks between them, while speakers come in and
// drop out of the window, the ranking is compared with a count of the messages.
func TestHotRoomsAreCounted(t *testing.T) {
	t.Parallel()
	s := hotStack(t)
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
	var said speech
	compared := 0
	for burst := 0; burst < 8 || compared < 20 && burst < 40; burst++ { // a busy machine compares less in a break
		var talking errgroup.Group
		for u, c := range clients {
			talking.Go(func() error { return talk(c, &said, u, burst, rooms) })
		}
		if err := talking.Wait(); err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(600 * time.Millisecond)
		for n := 0; time.Now().Before(until); n++ {
			typ := []string{"room", "all", "group"}[n%3]
			first, got := s.hot(n%2, typ, 4+n%5)
			pause(t.Context(), pollEvery)
			if !said.quietAround(first.TimeMS) {
				continue
			}
			sameRanking(t, got, said.rank(first.TimeMS, func(group string) bool {
				return typ == "all" || (group == "private") == (typ == "group")
			}))
			compared++
		}
	}
	if compared < 20 {
		t.Errorf("rankings compared: got %d, want at least 20", compared)
	}
	t.Logf("%d rankings compared, %d messages", compared, len(said.said))
	await(t, patience, "everybody silent: no hot rooms", func() (bool, any) {
		_, got := s.hot(0, "all", 50)
		return len(got) == 0, got
	})
}

func hotStack(t *testing.T) *stack {
	return newStack(t, setup{instances: 2, env: map[string]string{
		"HEARTH_HEAT_WINDOW": heatWindow.String(), "HEARTH_HEAT_SNAPSHOT_TTL": "100ms",
	}})
}

// talk sends some messages, the more the lower the room's number, and with some of them what must not count.
func talk(c *client, said *speech, u, burst int, rooms []string) error {
	for i, r := range rooms {
		if (u*7+burst*5+i*3)%(i+2) != 0 {
			continue
		}
		draft := fields{"group": r, "body": textBody(say(burst, i)), "client_id": fmt.Sprintf("b%d-%d", burst, i)}
		for try := range 2 { // the second is a duplicate
			var a sent
			if err := c.try("send", draft, &a); err != nil {
				return err
			}
			if a.Duplicate != (try == 1) {
				return fmt.Errorf("send %d of %s: duplicate %v", try, draft["client_id"], a.Duplicate)
			}
			if try == 0 {
				said.add(r, c.user, a.TimeMS)
			}
		}
	}
	var a sent
	err := c.try("send", fields{"group": "private", "body": textBody(say(burst))}, &a)
	switch {
	case u < 3 && err == nil:
		said.add("private", c.user, a.TimeMS)
		return nil
	case u >= 3 && codeOf(err) == "not_member": // refused: does not count
		return nil
	}
	return fmt.Errorf("send of %s to a group: %w", c.user, err)
}

// hot reads all pages of a ranking as an app server.
func (s *stack) hot(n int, typ string, limit int) (first hotPage, entries []hotEntry) {
	s.t.Helper()
	cursor := ""
	for {
		path := fmt.Sprintf("/v1/groups/hot?type=%s&limit=%d", typ, limit)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		var p hotPage
		s.server(n).get(path).ok(200, &p)
		if first.Snapshot == "" {
			first = p
		}
		if p.Snapshot != first.Snapshot || p.TimeMS != first.TimeMS || p.WindowMS != heatWindow.Milliseconds() || len(p.Groups) > limit {
			s.t.Fatalf("page of the ranking: got snapshot %s at %d, window %d, %d groups; want %s at %d",
				p.Snapshot, p.TimeMS, p.WindowMS, len(p.Groups), first.Snapshot, first.TimeMS)
		}
		entries = append(entries, p.Groups...)
		if cursor = p.Cursor; cursor == "" {
			return first, entries
		}
	}
}

func sameRanking(t *testing.T, got, want []hotEntry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("ranking: got %d groups, want %d\ngot  %+v\nwant %+v", len(got), len(want), got, want)
	}
	for i, g := range got {
		wantType := "room"
		if g.Group == "private" {
			wantType = "group"
		}
		w := want[i]
		w.Type = wantType
		if g != w {
			t.Fatalf("rank %d: got %+v, want %+v", i+1, g, w)
		}
	}
}

// TestHotIsExplained: each counted user of each listed group, with the time of his last message.
func TestHotIsExplained(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_HEAT_SNAPSHOT_TTL": "100ms"}})
	rooms := names("room", 20)
	want := make(map[string]map[string]int64)
	for i, r := range rooms {
		s.createGroup("room", r)
		want[r] = make(map[string]int64)
		for u := range 1 + i%4 {
			user := fmt.Sprintf("u%d", u)
			for range 2 { // he counts once, by the later
				var a sent
				s.user(i%2, user).post("/v1/groups/"+r+"/messages", fields{"body": textBody(say(r))}).ok(201, &a)
				want[r][user] = a.TimeMS
			}
		}
	}
	type explained struct {
		Groups []struct {
			hotEntry
			Speakers []struct {
				User   string `json:"user"`
				TimeMS int64  `json:"time_ms"`
			} `json:"speakers"`
		} `json:"groups"`
		Cursor string `json:"cursor"`
	}
	await(t, patience, "a snapshot of all that was said", func() (bool, any) {
		var all hotPage
		s.server(0).get("/v1/groups/hot?limit=200").ok(200, &all)
		entries := all.Groups
		heat := 0
		for _, e := range entries {
			heat += e.Heat
		}
		return len(entries) == len(rooms) && heat == 50, entries
	})
	seen := 0
	for cursor := ""; ; {
		var p explained
		s.server(1).get("/v1/groups/hot?explain=1&limit=7"+cursor).ok(200, &p)
		for _, g := range p.Groups {
			got := make(map[string]int64)
			for _, sp := range g.Speakers {
				got[sp.User] = sp.TimeMS
			}
			if len(g.Speakers) != g.Heat || !maps.Equal(got, want[g.Group]) {
				t.Errorf("%s with heat %d: got %v, want %v", g.Group, g.Heat, g.Speakers, want[g.Group])
			}
			seen++
		}
		if p.Cursor == "" {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(p.Cursor)
	}
	if seen != len(rooms) {
		t.Errorf("groups: got %d, want %d", seen, len(rooms))
	}
	s.user(0, "u1").get("/v1/groups/hot?explain=1").refused(403, "forbidden", "explain")
}

// TestHotPages: a cursor stays in its snapshot while the ranking moves on; a dismissed room leaves every page.
func TestHotPages(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_HEAT_SNAPSHOT_TTL": "100ms"}})
	rooms := names("room", 12)
	for _, r := range rooms {
		s.createGroup("room", r)
	}
	u := make([]*client, 6)
	for n := range u {
		u[n] = s.connect(n%2, fmt.Sprintf("u%d", n))
	}
	for i, r := range rooms { // heat 6, 5, 4, 3, 2, 1, 6, 5, …
		for n := range 6 - i%6 {
			u[n].send(r, say(r))
		}
	}
	var pages []hotPage
	await(t, patience, "a snapshot with all rooms", func() (bool, any) {
		var all hotPage
		s.server(0).get("/v1/groups/hot").ok(200, &all)
		return len(all.Groups) == len(rooms), all
	})
	alice := s.user(1, "alice") // a user, from the other instance
	var p hotPage
	alice.get("/v1/groups/hot?limit=4").ok(200, &p)
	pages = append(pages, p)
	for n := range u { // the last one becomes the hottest
		u[n].send("room5", say("more"))
	}
	await(t, patience, "another snapshot", func() (bool, any) {
		var now hotPage
		s.server(0).get("/v1/groups/hot?limit=1").ok(200, &now)
		return now.Snapshot != p.Snapshot && now.Groups[0].Group == "room5", now
	})
	s.server(0).delete("/v1/groups/room8").ok(204, nil) // on a page that is still to come
	s.server(0).delete("/v1/groups/room0").ok(204, nil) // on one that was shown
	for p.Cursor != "" {
		path := "/v1/groups/hot?limit=4&cursor=" + url.QueryEscape(p.Cursor)
		p = hotPage{}
		alice.get(path).ok(200, &p)
		pages = append(pages, p)
	}
	var ranks []int
	var shown []string
	for _, p := range pages {
		if p.Snapshot != pages[0].Snapshot {
			t.Errorf("snapshot of a page: got %s, want %s", p.Snapshot, pages[0].Snapshot)
		}
		for _, e := range p.Groups {
			ranks, shown = append(ranks, e.Rank), append(shown, e.Group)
		}
	}
	wantShown := []string{"room6", "room0", "room7", "room1", "room2", "room9", "room3", "room10", "room4", "room11", "room5"}
	wantRanks := []int{1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12} // 5 was room8's
	if !slices.Equal(shown, wantShown) || !slices.Equal(ranks, wantRanks) {
		t.Errorf("paged ranking:\ngot  %v %v\nwant %v %v", shown, ranks, wantShown, wantRanks)
	}
	await(t, patience, "a ranking without dismissed rooms", func() (bool, any) {
		var now hotPage
		alice.get("/v1/groups/hot").ok(200, &now)
		var ids []string
		for i, e := range now.Groups {
			if ids = append(ids, e.Group); e.Rank != i+1 {
				return false, now.Groups
			}
		}
		return len(ids) == 10 && ids[0] == "room5" && !slices.Contains(ids, "room0") && !slices.Contains(ids, "room8"), ids
	})
	alice.get("/v1/groups/hot?type=group").refused(403, "forbidden", "type")
	alice.get("/v1/groups/hot?type=all").refused(403, "forbidden", "type")
	alice.get("/v1/groups/hot?type=direct").refused(400, "bad_request", "type")
	alice.get("/v1/groups/hot?cursor="+quiet).refused(400, "bad_request", "cursor")
	alice.get("/v1/groups/hot?cursor=zzz-1.5").refused(410, "gone", "")
}

// TestHotIsTakenOnceForAll: two instances that are asked all the time take a snapshot in turns, one in a TTL.
func TestHotIsTakenOnceForAll(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_HEAT_SNAPSHOT_TTL": "300ms"}})
	s.createGroup("room", "room")
	s.user(0, "u").post("/v1/groups/room/messages", fields{"body": textBody("hello")}).ok(201, nil)
	const enough = 8
	seen := make([]map[string]int64, 2) // the snapshots' times, by instance
	var asking errgroup.Group
	for n := range seen {
		seen[n] = make(map[string]int64)
		alice := s.user(n, "alice")
		asking.Go(func() error {
			for begun := time.Now(); len(seen[n]) < enough; {
				a, err := alice.try(http.MethodGet, "/v1/groups/hot", nil)
				if err != nil || a.Status != http.StatusOK {
					return fmt.Errorf("got %v, %w", a, err)
				}
				var p hotPage
				if err := json.Unmarshal(a.Body, &p); err != nil {
					return err
				}
				if seen[n][p.Snapshot] = p.TimeMS; time.Since(begun) > patience {
					return fmt.Errorf("%d snapshots after %v", len(seen[n]), patience)
				}
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		t.Fatal(err)
	}
	maps.Copy(seen[0], seen[1])
	times := slices.Sorted(maps.Values(seen[0]))
	for i := 1; i < len(times); i++ {
		if times[i]-times[i-1] < 300 {
			t.Errorf("snapshots at %v: two within a TTL", times)
		}
	}
	taken := 0
	for n := range seen {
		count, err := strconv.Atoi(s.metric(t, n, "hearth_heat_snapshot_duration_seconds_count"))
		if err != nil {
			t.Fatal(err)
		}
		taken += count
	}
	if taken < len(times) { // more when an instance has lost its turn, because it stood still
		t.Errorf("snapshots taken: %d, seen were %d", taken, len(times))
	}
}

// TestHotWeighs: messages and viewers count, are explained, and are counted again when Redis has forgotten them.
func TestHotWeighs(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{
		"HEARTH_HEAT_SNAPSHOT_TTL": "100ms", "HEARTH_HEAT_WEIGHTS_SPEAKERS": "100",
		"HEARTH_HEAT_WEIGHTS_MESSAGES": "10", "HEARTH_HEAT_WEIGHTS_ONLINE": "1",
	}})
	type weighed struct {
		Weights map[string]int `json:"weights"`
		Groups  []struct {
			hotEntry
			Online   int   `json:"online"`
			Messages int   `json:"messages"`
			Speakers []any `json:"speakers"`
		} `json:"groups"`
	}
	want := make(map[string]int)
	for i, r := range names("room", 4) {
		s.createGroup("room", r)
		for m := range 2 * i {
			s.user(m%2, fmt.Sprint("u", m%3)).post("/v1/groups/"+r+"/messages", fields{"body": textBody(say(r, m))}).ok(201, nil)
		}
		if i > 0 {
			want[r] = 100*min(2*i, 3) + 10*2*i
		}
	}
	s.connect(1, "viewer").do("subscribe", fields{"group": "room2"}, nil)
	want["room2"]++
	right := func(when string) {
		t.Helper()
		await(t, patience, when, func() (bool, any) {
			a, err := s.server(1).try(http.MethodGet, "/v1/groups/hot?explain=1", nil)
			if err != nil || a.Status != http.StatusOK {
				return false, fmt.Sprint(a, err)
			}
			var p weighed
			a.ok(http.StatusOK, &p)
			got := make(map[string]int)
			for _, g := range p.Groups {
				got[g.Group] = g.Heat
				if sum := 100*len(g.Speakers) + 10*g.Messages + g.Online; sum != g.Heat {
					return false, fmt.Sprintf("%s: heat %d, explained by %d", g.Group, g.Heat, sum)
				}
			}
			return maps.Equal(got, want) && p.Weights["messages"] == 10, fmt.Sprintf("%v, want %v", got, want)
		})
	}
	right("all is weighed")
	s.awaitPersisted(patience)
	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	right("all is back")
}
