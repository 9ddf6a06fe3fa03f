package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestClosedGroups: whoever asks, users neither join nor add; app servers do. A closed room is read and written as any.
func TestClosedGroups(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	server, owner, eve := s.server(0), s.user(1, "olivia"), s.user(0, "eve")
	for _, kind := range []string{"group", "room"} {
		path := "/v1/groups/" + kind + "-1"
		var g group
		server.post("/v1/groups", fields{
			"group": kind + "-1", "type": kind, "name": "c", "owner": "olivia", "members": []string{"adam", "bob"}, "join": "closed",
		}).ok(201, &g)
		if g.Join != "closed" {
			t.Errorf("%s: join: got %q, want closed", kind, g.Join)
		}
		server.patch(path+"/members/adam", fields{"role": "admin"}).ok(200, nil)
		eve.post(path+"/join", nil).refused(403, "forbidden", "")
		for _, who := range []*caller{owner, s.user(0, "adam"), s.user(1, "bob")} {
			who.post(path+"/members", fields{"members": []string{"eve"}}).refused(403, "forbidden", "")
		}
		s.user(0, "bob").post(path+"/join", nil).ok(200, nil) // is in
		server.post(path+"/members", fields{"members": []string{"frank"}}).ok(200, nil)
		server.post(path+"/join", fields{"user": "gina"}).ok(200, nil)
		s.sameMembers(s.server(1), kind+"-1", "adam:admin", "bob:member", "frank:member", "gina:member", "olivia:owner")
		owner.patch(path, fields{"join": "invite"}).ok(200, nil)
		owner.post(path+"/members", fields{"members": []string{"eve"}}).ok(200, nil)
		owner.patch(path, fields{"join": "closed"}).ok(200, &g)
		if g.Join != "closed" {
			t.Errorf("%s closed again: join: got %q", kind, g.Join)
		}
	}
	s.user(0, "zoe").get("/v1/groups/room-1/messages").ok(200, nil)
	s.connect(1, "zoe").send("room-1", say("an outsider may"))
}

// TestMemberLimitHoldsEverywhere: users join and are added by two instances at once; not one gets in too many, and
// who did not is told.
func TestMemberLimitHoldsEverywhere(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "small", "olivia")
	const limit, each = 25, 40
	s.server(0).patch("/v1/groups/small", fields{"member_limit": limit, "join": "open"}).ok(200, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 1
	for n := range 2 {
		for worker := range 4 {
			wg.Go(func() {
				for i := range each / 4 {
					user := fmt.Sprintf("u-%d-%d-%d", n, worker, i)
					who, path, body := s.user(n, user), "/join", any(nil)
					if worker%2 == 1 {
						who, path, body = s.server(n), "/members", fields{"members": []string{user}}
					}
					a, err := who.try(http.MethodPost, "/v1/groups/small"+path, body)
					if err != nil {
						t.Error(err)
						return
					}
					if a.Status == 200 {
						mu.Lock()
						in++
						mu.Unlock()
						continue
					}
					a.refused(http.StatusRequestEntityTooLarge, "too_large", "members")
				}
			})
		}
	}
	wg.Wait()
	var g group
	if s.server(1).get("/v1/groups/small").ok(200, &g); g.MemberCount != limit || in != limit {
		t.Errorf("members: got %d, told %d that they are in, want %d", g.MemberCount, in, limit)
	}
	var list struct{ Members []json.RawMessage }
	if s.server(0).get("/v1/groups/small/members?limit=200").ok(200, &list); len(list.Members) != limit {
		t.Errorf("listed members: got %d, want %d", len(list.Members), limit)
	}
}

// A group always has an owner who is in it, also when he who is to be it leaves or is removed at the same moment.
func TestHandingOverMeetsALeave(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	for i := range 30 {
		g := fmt.Sprintf("g-%d", i)
		s.server(0).post("/v1/groups", fields{"group": g, "type": "group", "name": g, "owner": "olivia", "members": []string{"pat", "adam"}}).ok(201, nil)
		s.user(0, "olivia").patch("/v1/groups/"+g+"/members/adam", fields{"role": "admin"}).ok(200, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.user(0, "olivia").try(http.MethodPatch, "/v1/groups/"+g+"/members/pat", fields{"role": "owner"}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			who, method, path := s.user(1, "pat"), http.MethodPost, "/leave"
			switch i % 3 {
			case 1:
				who, method, path = s.user(1, "adam"), http.MethodDelete, "/members/pat"
			case 2:
				who, method, path = s.server(1), http.MethodDelete, "/members/pat"
			}
			if _, err := who.try(method, "/v1/groups/"+g+path, nil); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		var got struct{ Owner string }
		s.server(0).get("/v1/groups/"+g).ok(200, &got)
		var list struct{ Members []struct{ User, Role string } }
		s.server(1).get("/v1/groups/"+g+"/members").ok(200, &list)
		var owners []string
		for _, m := range list.Members {
			if m.Role == "owner" {
				owners = append(owners, m.User)
			}
		}
		if len(owners) != 1 || owners[0] != got.Owner {
			t.Errorf("%s: the group says %s, its members' owners are %v", g, got.Owner, owners)
		}
	}
}
