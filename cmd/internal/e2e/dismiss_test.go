package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDismissLeavesNothing: what was dismissed is gone for every route and op, on every instance, from the answer on, also
// after Redis was emptied; its id is never used again; and what Redis held of it is deleted within seconds, but for that it
// is gone, which is known for a minute.
func TestDismissLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_HEAT_SNAPSHOT_TTL": "100ms"}})
	const room, kept = "room-1", "room-11" // the names begin alike
	var clients []*client
	for n := range s.instances {
		clients = append(clients, s.connect(n, "olivia"), s.connect(n, "bob"))
	}
	olivia, bob := clients[0], clients[3]
	for _, id := range []string{room, kept} {
		s.server(0).post("/v1/groups", fields{"group": id, "type": "room", "name": id, "owner": "olivia", "members": []string{"bob", "max"}}).ok(201, nil)
		for _, c := range clients {
			c.do("subscribe", fields{"group": id}, nil)
		}
		for i := range 5 {
			olivia.send(id, say(i))
			bob.send(id, say(i))
			s.server(1).post("/v1/groups/"+id+"/messages", fields{"from": fmt.Sprint("guest", i), "body": textBody(say(i))}).ok(201, nil)
		}
		bob.do("read", fields{"group": id, "seq": 7}, nil)
		s.user(0, "max").post("/v1/groups/"+id+"/read", fields{"seq": 3}).ok(200, nil)
	}
	olivia.do("send", fields{"to": "bob", "body": textBody(say("direct"))}, nil)
	await(t, patience, "the room is hot and has viewers", func() (bool, any) {
		var p hotPage
		s.server(1).get("/v1/groups/hot").ok(200, &p)
		found := s.traces(room)
		return len(p.Groups) == 2 && slices.ContainsFunc(found, func(k string) bool { return strings.Contains(k, "online:") }), found
	})

	s.user(1, "olivia").delete("/v1/groups/"+room).ok(http.StatusNoContent, nil)
	s.isGone(room, clients)
	var hot hotPage
	if s.user(0, "bob").get("/v1/groups/hot").ok(200, &hot); slices.ContainsFunc(hot.Groups, func(e hotEntry) bool { return e.Group == room }) {
		t.Errorf("hot rooms: got %+v, want none that is dismissed", hot.Groups)
	}
	dismissed := time.Now()
	s.awaitNoTraces(room)
	t.Logf("deleted from Redis within %v", time.Since(dismissed).Round(10*time.Millisecond))
	s.isGone(room, clients)
	s.awaitNoTraces(room) // and being asked for brings nothing back

	// Others are as they were.
	if got := olivia.send(kept, say("still there")); got.Seq != 16 {
		t.Errorf("seq in the other room: got %d, want 16", got.Seq)
	}
	if p := bob.pull("dm:bob:olivia", nil); p.MaxSeq != 1 {
		t.Errorf("direct conversation: got %+v, want its message", p)
	}
	if found := s.traces(kept); len(found) < 10 {
		t.Errorf("of the other room in Redis: got %v", found)
	}
	s.connect(1, "bob").send(kept, say("from a new connection"))
	s.awaitPersisted(patience)
	s.sound()

	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "sends are accepted again", func() (bool, any) {
		err := olivia.try("send", fields{"group": kept, "body": textBody(say("after the loss"))}, nil)
		return err == nil, err
	})
	s.isGone(room, clients)
	s.awaitNoTraces(room)
	await(t, patience, "the heat is back without the dismissed room", func() (bool, any) {
		var p hotPage
		s.server(1).get("/v1/groups/hot?type=all").ok(200, &p)
		return len(p.Groups) == 1 && p.Groups[0].Group == kept && p.Groups[0].Heat == 7, p.Groups
	})
	s.awaitNoTraces(room)
}

// TestConnectsAfterADismissal: who was in a group that Redis has forgotten connects while MySQL is away, which alone
// knows what the group was.
func TestConnectsAfterADismissal(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{ownMySQL: true})
	for _, id := range []string{"g", "h"} {
		s.createGroup("group", id, "bob", "olivia")
		s.connect(0, "olivia").send(id, say("hello"))
	}
	s.connect(0, "bob").close() // his groups are cached now
	s.server(0).delete("/v1/groups/g").ok(204, nil)
	s.awaitNoTraces("g")
	s.deleteKeys("hearth:{*}:group:g") // its minute is over
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	bob := s.connect(0, "bob")
	if welcome := bob.seen()[0]; !strings.Contains(string(welcome.raw), `"subscribed":1,`) {
		t.Errorf("welcome: got %s, want one group", welcome.raw)
	}
	bob.send("h", say("still here"))
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
}

// isGone asks every route and op about a group, on all instances.
func (s *stack) isGone(group string, clients []*client) {
	t := s.t
	t.Helper()
	path := "/v1/groups/" + group
	body := fields{"body": textBody(say("anyone?"))}
	for n := range s.instances {
		for _, who := range []*caller{s.server(n), s.user(n, "olivia"), s.user(n, "bob"), s.user(n, "stranger")} {
			act := fields{}
			if who.token == apiKey {
				act["user"] = "bob"
			}
			read := fields{"seq": 1}
			for k, v := range act {
				read[k] = v
			}
			for _, a := range []*answer{
				who.get(path),
				who.patch(path, fields{"name": "n"}),
				who.delete(path),
				who.post(path+"/join", act),
				who.post(path+"/leave", act),
				who.get(path + "/members"),
				who.post(path+"/members", fields{"members": []string{"eve"}}),
				who.delete(path + "/members/bob"),
				who.patch(path+"/members/bob", fields{"mute_ms": 1}),
				who.put(path + "/blocked/bob"),
				who.delete(path + "/blocked/bob"),
				who.post(path+"/messages", body),
				who.get(path + "/messages"),
				who.get(path + "/messages/1"),
				who.post(path+"/signals", fields{"kind": "k"}),
				who.post(path+"/read", read),
				who.get(path + "/readers?seq=1"),
				who.post("/v1/groups", fields{"group": group, "type": "room", "name": "again"}),
			} {
				a.refused(http.StatusGone, "gone", "")
			}
		}
	}
	for _, c := range clients {
		for op, f := range map[string]fields{
			"send": body, "signal": {"kind": "k"}, "subscribe": {}, "pull": {}, "read": {"seq": 1},
		} {
			request := fields{"group": group}
			for k, v := range f {
				request[k] = v
			}
			if code := codeOf(c.try(op, request, nil)); code != "gone" {
				t.Errorf("%s of %s: got %q, want gone", op, c.user, code)
			}
		}
		var got struct{ Results []page }
		if c.do("sync", fields{"groups": fields{group: 0}}, &got); len(got.Results) != 1 || got.Results[0].Error == nil || got.Results[0].Error.Code != "gone" {
			t.Errorf("sync of %s: got %+v, want gone", c.user, got.Results)
		}
		var heads struct {
			Results []struct{ Group string }
		}
		if c.do("sync", nil, &heads); slices.ContainsFunc(heads.Results, func(h struct{ Group string }) bool { return h.Group == group }) {
			t.Errorf("groups of %s: got %+v, want none that is dismissed", c.user, heads.Results)
		}
	}
}

// traces are the keys of Redis, and the fields and members in them, that name a group. Left out is what only passes
// by (rates, a ranking's snapshot).
func (s *stack) traces(group string) (found []string) {
	s.t.Helper()
	ctx := s.t.Context()
	keys := s.rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		if strings.Contains(key, "}:rate:") || strings.HasPrefix(key, "hearth:hot:") {
			continue
		}
		if strings.HasSuffix(key, ":"+group) {
			found = append(found, key)
		}
		var names []string
		switch s.rdb.Type(ctx, key).Val() {
		case "hash":
			names = s.rdb.HKeys(ctx, key).Val()
		case "zset":
			names = s.rdb.ZRange(ctx, key, 0, -1).Val()
		case "set":
			names = s.rdb.SMembers(ctx, key).Val()
		}
		for _, name := range names {
			if name == group || strings.HasPrefix(name, group+"|") {
				found = append(found, key+" "+name)
			}
		}
	}
	if err := keys.Err(); err != nil {
		s.t.Fatal(err)
	}
	return found
}

// awaitNoTraces waits until all that is left of a group is that it is gone, for a time.
func (s *stack) awaitNoTraces(group string) {
	s.t.Helper()
	await(s.t, patience, "nothing of "+group+" is left in Redis", func() (bool, any) {
		found := slices.DeleteFunc(s.traces(group), func(key string) bool {
			if !strings.HasSuffix(key, "}:group:"+group) {
				return false
			}
			ttl := s.rdb.PTTL(s.t.Context(), key).Val()
			return ttl > 0 && ttl <= time.Minute || ttl == -2 // or it has just ended
		})
		return len(found) == 0, found
	})
}
