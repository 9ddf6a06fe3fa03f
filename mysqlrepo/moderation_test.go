package mysqlrepo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hearth/domain"
)

// place makes a user's place another one.
func place(t testing.TB, db *DB, group, user string, change func(m *domain.Membership)) *domain.GroupChange {
	t.Helper()
	c, err := db.ChangeMember(t.Context(), group, "", user, func(_ *domain.Group, _, his domain.Membership) (domain.Membership, error) {
		change(&his)
		return his, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// takeOut ends a membership as domain.Groups does.
func takeOut(ctx context.Context, db *DB, group, user string) (*domain.GroupChange, error) {
	return db.ChangeMember(ctx, group, "", user, func(_ *domain.Group, _, his domain.Membership) (domain.Membership, error) {
		if his.Role.IsMember() {
			his.Role = domain.Outsider
		}
		return his, nil
	}, nil)
}

func role(r domain.Role) func(*domain.Membership) {
	return func(m *domain.Membership) { m.Role = r }
}

func muteUntil(ms int64) func(*domain.Membership) {
	return func(m *domain.Membership) { m.MuteUntilMS = ms }
}

func wantPut(t testing.TB, c *domain.GroupChange, version int64, count int, want ...domain.Membership) {
	t.Helper()
	if c.Version != version || c.MemberCount != count {
		t.Errorf("got version %d, %d members, want %d, %d", c.Version, c.MemberCount, version, count)
	}
	if diff := cmp.Diff(want, c.Put, cmpopts.IgnoreFields(domain.Membership{}, "JoinedMS"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("put (-want +got):\n%s", diff)
	}
}

func TestUpdateStoresWhatIsChanged(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann")
		create(t, db, "other", "ann")
		change := func(g *domain.Group) {
			g.Name, g.Avatar, g.Join, g.Muted, g.MemberLimit = "Ré", "https://x/y", domain.JoinInvite, true, 1
			g.Attributes = json.RawMessage(`{"a":1}`)
		}
		c, err := db.Update(t.Context(), "room", change, nil)
		if err != nil || !c.Raised || c.Version != 2 {
			t.Fatalf("got %+v, %v, want version 2", c, err)
		}
		g, err := db.Group(t.Context(), "room")
		if diff := cmp.Diff(&c.Group, g); err != nil || diff != "" || g.Name != "Ré" || !g.Muted {
			t.Errorf("stored (-change +stored): %v\n%s", err, diff)
		}
		if c, err = db.Update(t.Context(), "room", change, nil); err != nil || c.Raised || c.Version != 2 {
			t.Errorf("the same again: got %+v, %v, want nothing raised", c, err)
		}
		_, err = db.AddMembers(t.Context(), "room", []string{"ben"}, 0, nil)
		wantCode(t, err, domain.CodeTooLarge)
		if g, err = db.Group(t.Context(), "other"); err != nil || g.Name != "other" || g.Version != 1 {
			t.Errorf("another group: got %+v, %v", g, err)
		}
		_, err = db.Update(t.Context(), "none", change, nil)
		wantCode(t, err, domain.CodeNotFound)
		if _, err = db.Dismiss(t.Context(), "room", nil); err != nil {
			t.Fatal(err)
		}
		_, err = db.Update(t.Context(), "room", change, nil)
		wantCode(t, err, domain.CodeGone)
	})
}

func TestHandingOverIsOneChange(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if _, err := db.Create(t.Context(), domain.Group{ID: "g", Type: domain.Private, Owner: "ann"}, []string{"ben", "cleo"}, nil); err != nil {
			t.Fatal(err)
		}
		c := place(t, db, "g", "ben", role(domain.Owner))
		wantPut(t, c, 2, 3, domain.Membership{User: "ann", Role: domain.Admin}, domain.Membership{User: "ben", Role: domain.Owner})
		s, err := db.Snapshot(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(s.Owner, " ", s.Members[0].Role, " ", s.Members[1].Role, " ", s.Members[2].Role)
		if got != "ben admin owner member" || s.Members[0].JoinedMS == 0 {
			t.Errorf("stored: got %s, %+v, want ben admin owner member", got, s.Members)
		}
		c = place(t, db, "g", "ben", role(domain.Owner))
		wantPut(t, c, 2, 3, domain.Membership{User: "ben", Role: domain.Owner})
		if c.Raised {
			t.Error("he is the owner already, and the version was raised")
		}

		create(t, db, "unowned", "ben")
		c = place(t, db, "unowned", "ben", role(domain.Owner))
		wantPut(t, c, 2, 1, domain.Membership{User: "ben", Role: domain.Owner})
		if c.Owner != "ben" {
			t.Errorf("owner: got %q, want ben", c.Owner)
		}
	})
}

// Two who hand over at once: the second is not the owner any more when it is his turn.
func TestWhoDecidesSeesTheGroupAsItIsThen(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if _, err := db.Create(t.Context(), domain.Group{ID: "g", Type: domain.Private, Owner: "ann"}, names(8), nil); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		results := make([]error, 8)
		for i, user := range names(8) {
			wg.Go(func() {
				_, results[i] = db.ChangeMember(t.Context(), "g", "ann", user, func(_ *domain.Group, mine, his domain.Membership) (domain.Membership, error) {
					if mine.Role != domain.Owner {
						return his, domain.Errorf(domain.CodeForbidden, "not the owner")
					}
					his.Role = domain.Owner
					return his, nil
				}, nil)
			})
		}
		wg.Wait()
		var done []string
		for i, err := range results {
			if err == nil {
				done = append(done, names(8)[i])
			} else {
				wantCode(t, err, domain.CodeForbidden)
			}
		}
		g, err := db.Group(t.Context(), "g")
		if err != nil || len(done) != 1 || g.Owner != done[0] || g.Version != 2 {
			t.Errorf("handed over to %v, owner %q at version %d (%v), want one", done, g.Owner, g.Version, err)
		}
	})
}

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint("u", i))
	}
	return list
}

func TestAMuteOutlivesMembership(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann", "ben", "cleo")
		until := db.now().Add(time.Minute).UnixMilli()
		muted := domain.Membership{User: "ben", Role: domain.Member, MuteUntilMS: until}
		wantPut(t, place(t, db, "room", "ben", muteUntil(until)), 2, 3, muted)
		c, err := takeOut(t.Context(), db, "room", "ben")
		if err != nil {
			t.Fatal(err)
		}
		gone := domain.Membership{User: "ben", MuteUntilMS: until}
		wantPut(t, c, 3, 2, gone)
		if len(c.Removed) > 0 {
			t.Errorf("removed: got %v, want none, for the cache is to keep his mute", c.Removed)
		}
		if c, err = takeOut(t.Context(), db, "room", "ben"); err != nil || c.Raised {
			t.Errorf("removed twice: got %+v, %v", c, err)
		}
		saveReads(t, db, "room", map[string]int64{"ann": 5, "ben": 5})
		wantNoMember(t, db, "room", "ben")

		s, err := db.Snapshot(t.Context(), "room")
		if err != nil || len(s.Members) != 3 || s.Members[1] != gone {
			t.Errorf("snapshot: got %+v, %v, want ben in it with his mute", s.Members, err)
		}
		wantPut(t, add(t, db, "room", 0, "ben", "dan"), 4, 4, muted, domain.Membership{User: "dan", Role: domain.Member})
		m, err := db.Member(t.Context(), "room", "ben")
		if err != nil || m.JoinedMS == 0 || m.MuteUntilMS != until || m.Role != domain.Member {
			t.Errorf("in again: got %+v, %v, want his mute", m, err)
		}

		place(t, db, "room", "ben", role(domain.BlockedIn))
		wantPut(t, place(t, db, "room", "ben", role(domain.Outsider)), 6, 3, gone)
		c = place(t, db, "room", "ben", muteUntil(0))
		if wantPut(t, c, 7, 3); strings.Join(c.Removed, " ") != "ben" {
			t.Errorf("unmuted: removed: got %v, want ben", c.Removed)
		}
		place(t, db, "room", "cleo", muteUntil(db.now().Add(-2*time.Hour).UnixMilli()))
		if c, err = takeOut(t.Context(), db, "room", "cleo"); err != nil || strings.Join(c.Removed, " ") != "cleo" {
			t.Errorf("a mute that is long over: got %+v, %v, want nothing kept", c, err)
		}
	})
}

func wantNoMember(t testing.TB, db *DB, group, user string) {
	t.Helper()
	members, err := db.Members(t.Context(), group, "", 0)
	if err != nil || strings.Contains(strings.Join(usersOf(members), " "), user) {
		t.Errorf("members: got %+v, %v, want them without %s", members, err, user)
	}
	groups, err := db.Groups(t.Context(), user, "", 0)
	if err != nil || len(groups) > 0 {
		t.Errorf("his groups: got %v, %v, want none", groups, err)
	}
	ids, err := db.GroupsOf(t.Context(), user, "", 0)
	if err != nil || len(ids) > 0 {
		t.Errorf("ids of his groups: got %v, %v, want none", ids, err)
	}
	for _, pending := range [][]string{nil, {user}} {
		_, readers, err := db.Readers(t.Context(), domain.ReaderQuery{Group: group, Seq: 1, Members: true, Names: 10, Pending: pending})
		if err != nil || strings.Join(readers, " ") != "ann" {
			t.Errorf("readers: got %v, %v, want ann alone", readers, err)
		}
	}
}

func TestBlockingTakesOutAndCounts(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann", "ben")
		wantPut(t, place(t, db, "room", "ben", role(domain.BlockedIn)), 2, 1, domain.Membership{User: "ben", Role: domain.BlockedIn})
		wantPut(t, place(t, db, "room", "zoe", role(domain.BlockedIn)), 3, 1, domain.Membership{User: "zoe", Role: domain.BlockedIn})
		c := place(t, db, "room", "zoe", role(domain.BlockedIn))
		if wantPut(t, c, 3, 1, domain.Membership{User: "zoe", Role: domain.BlockedIn}); c.Raised {
			t.Error("blocked twice, and the version was raised")
		}
		_, err := db.AddMembers(t.Context(), "room", []string{"ben"}, 0, nil)
		wantCode(t, err, domain.CodeForbidden)
		c = place(t, db, "room", "ben", role(domain.Outsider))
		if wantPut(t, c, 4, 1); strings.Join(c.Removed, " ") != "ben" {
			t.Errorf("unblocked: removed: got %v, want ben", c.Removed)
		}
		if c = add(t, db, "room", 0, "ben"); c.MemberCount != 2 {
			t.Errorf("in again: got %d members, want 2", c.MemberCount)
		}
		c = place(t, db, "room", "nobody", func(*domain.Membership) {})
		if wantPut(t, c, 5, 2); c.Raised {
			t.Error("nothing was changed, and the version was raised")
		}
	})
}
