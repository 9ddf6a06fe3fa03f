package mysqlrepo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

func create(t testing.TB, db *DB, id string, members ...string) *domain.GroupChange {
	t.Helper()
	c, err := db.Create(context.Background(), domain.Group{ID: id, Type: domain.Room, Name: id, Join: domain.JoinOpen}, members, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func add(t testing.TB, db *DB, group string, readSeq int64, users ...string) *domain.GroupChange {
	t.Helper()
	c, err := db.AddMembers(context.Background(), group, users, readSeq, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func block(t testing.TB, db *DB, group, user string) {
	t.Helper()
	execSQL(t, db, "INSERT INTO group_member (group_id, user_id, role, joined_time) VALUES (?, ?, 'blocked', 0)", group, user)
}

func TestCreatedGroupIsReadBack(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("team"))
		g := domain.Group{
			ID: "team", Type: domain.Private, Name: "Töam 🐈", Avatar: "https://example.com/a.png", Join: domain.JoinInvite,
			Owner: "olga", Attributes: json.RawMessage(`{"color":"grün"}`), MemberLimit: 10, Muted: true,
		}
		c, err := db.Create(t.Context(), g, []string{"ben", "olga", "ann", "ben"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		g.Version, g.MemberCount, g.CreatedGen, g.CreatedMS = 1, 3, gen, c.CreatedMS
		members := []domain.Membership{
			{User: "ann", Role: domain.Member, JoinedMS: c.CreatedMS},
			{User: "ben", Role: domain.Member, JoinedMS: c.CreatedMS},
			{User: "olga", Role: domain.Owner, JoinedMS: c.CreatedMS},
		}
		want := &domain.GroupChange{Group: g, Put: members, Joined: []string{"ann", "ben", "olga"}, Created: true, Kept: c.Kept}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("change (-want +got):\n%s", diff)
		}
		s, err := db.Snapshot(t.Context(), "team")
		if diff := cmp.Diff(&domain.GroupSnapshot{Group: g, Members: members}, s); err != nil || diff != "" {
			t.Errorf("snapshot (-want +got): %v\n%s", err, diff)
		}
		got, err := db.Group(t.Context(), "team")
		if diff := cmp.Diff(&g, got); err != nil || diff != "" {
			t.Errorf("group (-want +got): %v\n%s", err, diff)
		}
		if c.CreatedMS == 0 {
			t.Error("CreatedMS: got 0, want the time of creation")
		}
	})
}

// Both sides open a conversation at the same moment: one does, and it stays as that one made it.
func TestDirectConversationIsCreatedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("dm:ann:bob"))
		g := domain.Group{ID: "dm:ann:bob", Type: domain.Direct, Join: domain.JoinInvite, MemberLimit: 2}
		var errs [4]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = db.Create(t.Context(), g, []string{"ann", "bob"}, nil) })
		}
		wg.Wait()
		created := 0
		for _, err := range errs {
			if err == nil {
				created++
				continue
			}
			wantCode(t, err, domain.CodeConflict)
		}
		if created != 1 {
			t.Errorf("created: got %d times, want once", created)
		}
		s, err := db.Snapshot(t.Context(), g.ID)
		if err != nil {
			t.Fatal(err)
		}
		g.Version, g.MemberCount, g.CreatedGen, g.CreatedMS = 1, 2, gen, s.CreatedMS
		want := &domain.GroupSnapshot{Group: g, Members: []domain.Membership{
			{User: "ann", Role: domain.Member, JoinedMS: s.CreatedMS}, {User: "bob", Role: domain.Member, JoinedMS: s.CreatedMS},
		}}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		_, err = db.AddMembers(t.Context(), g.ID, []string{"cleo"}, 0, nil)
		wantCode(t, err, domain.CodeTooLarge)
		if seed := seedOne(t, db, gen, g.ID); seed.Start != 0 {
			t.Errorf("start: got %d, want 0: it is new", seed.Start)
		}
	})
}

func TestGroupThatIsNotThereIsNotFound(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Group(ctx, "none")
		wantCode(t, err, domain.CodeNotFound)
		_, err = db.Snapshot(ctx, "none")
		wantCode(t, err, domain.CodeNotFound)
		_, err = db.AddMembers(ctx, "none", []string{"u"}, 0, nil)
		wantCode(t, err, domain.CodeNotFound)
		_, err = takeOut(ctx, db, "none", "u")
		wantCode(t, err, domain.CodeNotFound)
		_, err = db.Dismiss(ctx, "none", nil)
		wantCode(t, err, domain.CodeNotFound)
		m, err := db.Member(ctx, "none", "u")
		if m != (domain.Membership{}) || err != nil {
			t.Errorf("member: got %+v, %v, want the zero Membership", m, err)
		}
	})
}

func TestIdIsUsedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann")
		create(t, db, "Room")
		_, err := db.Create(t.Context(), domain.Group{ID: "room"}, nil, nil)
		wantCode(t, err, domain.CodeConflict)
		c, err := db.Dismiss(t.Context(), "room", nil)
		if err != nil || !c.Dismissed || c.Version != 2 {
			t.Errorf("dismiss: got %+v, %v, want dismissed at version 2", c, err)
		}
		_, err = db.Create(t.Context(), domain.Group{ID: "room"}, nil, nil)
		wantCode(t, err, domain.CodeGone)
		_, err = db.AddMembers(t.Context(), "room", []string{"u"}, 0, nil)
		wantCode(t, err, domain.CodeGone)
		_, err = takeOut(t.Context(), db, "room", "ann")
		wantCode(t, err, domain.CodeGone)
		_, err = db.Dismiss(t.Context(), "room", nil)
		wantCode(t, err, domain.CodeGone)
		g, err := db.Group(t.Context(), "room")
		if err != nil || !g.Dismissed || g.Version != 2 {
			t.Errorf("dismissed group: got %+v, %v, want it dismissed at version 2", g, err)
		}
	})
}

func TestVersionAndCountFollowJoinsAndLeaves(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann")
		block(t, db, "room", "mallory")
		check := func(c *domain.GroupChange, err error, version int64, count int, joined, removed []string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if c.Version != version || c.MemberCount != count {
				t.Errorf("got version %d, %d members, want version %d, %d members", c.Version, c.MemberCount, version, count)
			}
			if diff := cmp.Diff([][]string{joined, removed}, [][]string{c.Joined, c.Removed}); diff != "" {
				t.Errorf("joined and removed (-want +got):\n%s", diff)
			}
			g, err := db.Group(t.Context(), "room")
			if diff := cmp.Diff(&c.Group, g); err != nil || diff != "" {
				t.Errorf("stored group (-change +stored): %v\n%s", err, diff)
			}
		}
		check(add(t, db, "room", 7, "cleo", "ben", "ann", "ben"), nil, 2, 3, []string{"ben", "cleo"}, nil)
		again := add(t, db, "room", 9, "ben")
		check(again, nil, 2, 3, nil, nil)
		if len(again.Put) != 1 || again.Put[0].User != "ben" || again.Put[0].Role != domain.Member {
			t.Errorf("adding a member again: got %+v, want him as he is", again.Put)
		}
		c, err := takeOut(t.Context(), db, "room", "ben")
		check(c, err, 3, 2, nil, []string{"ben"})
		for _, user := range []string{"ben", "mallory", "nobody"} {
			c, err = takeOut(t.Context(), db, "room", user)
			check(c, err, 3, 2, nil, nil)
		}
		who := []domain.GroupUser{{Group: "room", User: "ann"}, {Group: "room", User: "ben"}, {Group: "room", User: "cleo"}}
		marks, err := db.ReadMarks(t.Context(), who)
		want := map[domain.GroupUser]int64{who[0]: 0, who[1]: 7, who[2]: 7}
		if diff := cmp.Diff(want, marks); err != nil || diff != "" {
			t.Errorf("read marks (-want +got): %v\n%s", err, diff)
		}
	})
}

func TestBlockedUserCannotBeAddedAndDoesNotCount(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "ann")
		block(t, db, "room", "mallory")
		_, err := db.AddMembers(t.Context(), "room", []string{"ben", "mallory"}, 0, nil)
		wantCode(t, err, domain.CodeForbidden)
		members, err := db.Members(t.Context(), "room", "", 0)
		if err != nil || len(members) != 1 || members[0].User != "ann" {
			t.Errorf("members: got %+v, %v, want ann alone", members, err)
		}
		m, err := db.Member(t.Context(), "room", "mallory")
		if err != nil || m.Role != domain.BlockedIn {
			t.Errorf("mallory: got %+v, %v, want blocked", m, err)
		}
		s, err := db.Snapshot(t.Context(), "room")
		if err != nil || len(s.Members) != 2 || s.Members[1].Role != domain.BlockedIn {
			t.Errorf("snapshot: got %+v, %v, want mallory in it as blocked", s, err)
		}
		groups, err := db.GroupsOf(t.Context(), "mallory", "", 0)
		if err != nil || len(groups) != 0 {
			t.Errorf("groups of mallory: got %v, %v, want none", groups, err)
		}
	})
}

func TestMemberLimitHolds(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		small := domain.Group{ID: "small", MemberLimit: 3}
		_, err := db.Create(t.Context(), small, []string{"a", "b", "c", "d"}, nil)
		wantCode(t, err, domain.CodeTooLarge)
		if _, err := db.Create(t.Context(), small, []string{"a", "b"}, nil); err != nil {
			t.Fatal(err)
		}
		_, err = db.AddMembers(t.Context(), "small", []string{"c", "d"}, 0, nil)
		wantCode(t, err, domain.CodeTooLarge)
		if c := add(t, db, "small", 0, "b", "c"); c.MemberCount != 3 || c.Version != 2 {
			t.Errorf("got %d members at version %d, want 3 at 2", c.MemberCount, c.Version)
		}
	})
}

func TestConcurrentJoinsAreAllCounted(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 5 {
					if _, err := db.AddMembers(t.Context(), "room", []string{fmt.Sprint("u", i, "-", j), fmt.Sprint("all", j)}, 0, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		s, err := db.Snapshot(t.Context(), "room")
		if err != nil {
			t.Fatal(err)
		}
		if s.MemberCount != 45 || len(s.Members) != 45 || s.Version != 41 {
			t.Errorf("got count %d, %d members, version %d, want 45, 45, 41", s.MemberCount, len(s.Members), s.Version)
		}
	})
}

func TestMembersArePagedByUser(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "room", "d", "B", "a", "c")
		var pages []string
		for after := ""; ; {
			page, err := db.Members(t.Context(), "room", after, 3)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, strings.Join(usersOf(page), " "))
			if len(page) < 3 {
				break
			}
			after = page[len(page)-1].User
		}
		if diff := cmp.Diff([]string{"B a c", "d"}, pages); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
	})
}

func TestGroupsAreListedById(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for _, id := range []string{"c", "a", "gone", "B", "d"} {
			create(t, db, id, "ann")
		}
		create(t, db, "other", "ben")
		block(t, db, "other", "ann")
		if _, err := db.Dismiss(t.Context(), "gone", nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			user, after string
			limit       int
			want        string
		}{
			{"ann", "", 0, "B a c d"},
			{"ann", "", 2, "B a"},
			{"ann", "a", 2, "c d"},
			{"ben", "", 5, "other"},
			{"nobody", "", 5, ""},
		} {
			ids, err := db.GroupsOf(t.Context(), c.user, c.after, c.limit)
			if got := strings.Join(ids, " "); err != nil || got != c.want {
				t.Errorf("GroupsOf(%s, %q, %d): got %q, %v, want %q", c.user, c.after, c.limit, got, err, c.want)
			}
			groups, err := db.Groups(t.Context(), c.user, c.after, c.limit)
			if got := idsOf(groups); err != nil || got != c.want {
				t.Errorf("Groups(%s, %q, %d): got %q, %v, want %q", c.user, c.after, c.limit, got, err, c.want)
			}
		}
		groups, err := db.Groups(t.Context(), "", "B", 3)
		if got := idsOf(groups); err != nil || got != "a c d" {
			t.Errorf("all groups above B: got %q, %v, want %q", got, err, "a c d")
		}
	})
}

func idsOf(groups []domain.Group) string {
	var ids []string
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return strings.Join(ids, " ")
}

func TestTypesOfGroupsAreTold(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		want := make(map[string]domain.GroupType)
		ids := []string{"nobody's"}
		for n := range 2*groupsAQuery + 1 {
			g := domain.Group{ID: fmt.Sprint("g", n), Type: domain.Room, Join: domain.JoinOpen}
			if n%3 == 0 {
				g.Type = domain.Private
			}
			if _, err := db.Create(t.Context(), g, nil, nil); err != nil {
				t.Fatal(err)
			}
			ids, want[g.ID] = append(ids, g.ID), g.Type
		}
		if _, err := db.Dismiss(t.Context(), "g7", nil); err != nil {
			t.Fatal(err)
		}
		got, err := db.GroupTypes(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("types of %d groups, one of them dismissed: got %v, want %v", len(ids), got, want)
		}
		if got, err = db.LiveTypes(t.Context(), ids); err != nil {
			t.Fatal(err)
		}
		delete(want, "g7")
		if !maps.Equal(got, want) {
			t.Errorf("types of %d groups without the one that was dismissed: got %v, want %v", len(ids), got, want)
		}
		if got, err = db.GroupTypes(t.Context(), nil); err != nil || len(got) > 0 {
			t.Errorf("types of no groups: got %v, %v", got, err)
		}
		if got, err = db.GroupTypes(t.Context(), []string{"G1"}); err != nil || len(got) > 0 {
			t.Errorf("ids that differ in case differ: got %v, %v", got, err)
		}
	})
}
