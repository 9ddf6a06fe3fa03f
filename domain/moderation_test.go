package domain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func update(w *world, actor domain.Actor, group string, p domain.GroupPatch) error {
	_, err := w.groups.Update(ctx, actor, group, p)
	return err
}

func updateMember(w *world, actor domain.Actor, group, user string, p domain.MemberPatch) error {
	_, err := w.groups.UpdateMember(ctx, actor, group, user, p)
	return err
}

func muted(ms int64) domain.MemberPatch { return domain.MemberPatch{MuteMS: &ms} }

func TestUpdateChangesWhatIsNamed(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	view, err := w.groups.Update(ctx, user("adam"), "club", domain.GroupPatch{
		Name: new("New"), Avatar: new("https://x/y"), Join: new(domain.JoinOpen), Muted: new(true),
		MemberLimit: new(int64(2)), Attributes: json.RawMessage(`{"a":1}`),
	})
	require.NoError(t, err)
	require.Equal(t, "New https://x/y open true 2 {\"a\":1} 42",
		fmt.Sprint(view.Name, " ", view.Avatar, " ", view.Join, " ", view.Muted, " ", view.MemberLimit, " ", string(view.Attributes), " ", view.MaxSeq))
	require.Equal(t, []string{`{"event":"group","group":"club","change":"updated","by":"adam"} came "" gone "" dismissed false`}, w.notices())
	require.True(t, w.redis.changes[0].Muted)
	require.Contains(t, membersOf(w, "club"), "mia:member", "a lower limit removes nobody")

	view, err = w.groups.Update(ctx, server, "club", domain.GroupPatch{Muted: new(false)})
	require.NoError(t, err)
	require.Equal(t, "New open false", fmt.Sprint(view.Name, " ", view.Join, " ", view.Muted))
	require.NoError(t, update(w, server, "club", domain.GroupPatch{Muted: new(false)}))
	require.Empty(t, w.notices(), "what is as it was is not told, but the cache drops what it may have missed")
	require.False(t, w.redis.changes[2].Raised)
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	good := domain.GroupPatch{Muted: new(true)}
	for name, c := range map[string]struct {
		actor domain.Actor
		group string
		p     domain.GroupPatch
		code  domain.Code
		field string
	}{
		"nothing":           {server, "club", domain.GroupPatch{}, domain.CodeBadRequest, ""},
		"no name":           {server, "club", domain.GroupPatch{Name: new("")}, domain.CodeBadRequest, "name"},
		"long name":         {server, "club", domain.GroupPatch{Name: new(strings.Repeat("n", 257))}, domain.CodeTooLarge, "name"},
		"long avatar":       {server, "club", domain.GroupPatch{Avatar: new(strings.Repeat("n", 2049))}, domain.CodeTooLarge, "avatar"},
		"bad join":          {server, "club", domain.GroupPatch{Join: new("shut")}, domain.CodeBadRequest, "join"},
		"no join":           {server, "club", domain.GroupPatch{Join: new("")}, domain.CodeBadRequest, "join"},
		"limit 0":           {server, "club", domain.GroupPatch{MemberLimit: new(int64(0))}, domain.CodeBadRequest, "member_limit"},
		"limit too high":    {server, "club", domain.GroupPatch{MemberLimit: new(int64(1_000_001))}, domain.CodeBadRequest, "member_limit"},
		"large attributes":  {server, "club", domain.GroupPatch{Attributes: make([]byte, 4097)}, domain.CodeTooLarge, "attributes"},
		"member":            {user("mia"), "club", good, domain.CodeForbidden, ""},
		"outsider":          {user("zoe"), "room", good, domain.CodeNotMember, ""},
		"blocked":           {user("eve"), "room", good, domain.CodeForbidden, ""},
		"dismissed":         {server, "gone", good, domain.CodeGone, ""},
		"unknown":           {server, "nowhere", good, domain.CodeNotFound, ""},
		"direct":            {user("ann"), "dm:ann:bob", good, domain.CodeForbidden, ""},
		"direct, by server": {server, "dm:ann:bob", good, domain.CodeForbidden, ""},
	} {
		w := clubWorld()
		err := update(w, c.actor, c.group, c.p)
		require.Error(t, err, name)
		requireCode(t, err, c.code, c.field)
		if c.group != "gone" {
			require.Empty(t, w.redis.changes, name)
		}
	}
}

func TestUpdateMemberAsksTheTable(t *testing.T) {
	t.Parallel()
	admin, member, owner, mute := domain.MemberPatch{Role: domain.Admin}, domain.MemberPatch{Role: domain.Member}, domain.MemberPatch{Role: domain.Owner}, muted(1000)
	for _, c := range []struct {
		actor      domain.Actor
		user       string
		p          domain.MemberPatch
		club, room string
	}{
		{user("owner"), "mia", admin, "ok", ""},
		{user("owner"), "adam", member, "ok", ""},
		{user("owner"), "mia", owner, "ok", ""},
		{user("owner"), "owner", owner, "ok", ""}, // is as it was
		{user("owner"), "owner", admin, "conflict", ""},
		{server, "owner", member, "conflict", ""},
		{server, "mia", owner, "ok", ""},
		{onBehalf("mia"), "max", admin, "ok", ""},
		{user("adam"), "mia", admin, "forbidden", ""},
		{user("adam"), "adam", member, "forbidden", ""},
		{user("mia"), "mia", admin, "forbidden", ""},
		{user("zoe"), "mia", admin, "not_member", ""},
		{user("eve"), "mia", admin, "forbidden", ""},
		{user("owner"), "zoe", admin, "not_found", ""},
		{user("owner"), "eve", admin, "not_found", ""},

		{user("owner"), "mia", mute, "ok", ""},
		{user("owner"), "adam", mute, "ok", ""},
		{user("owner"), "owner", mute, "forbidden", ""}, // nobody mutes himself
		{user("adam"), "mia", mute, "ok", ""},
		{user("adam"), "ada", mute, "forbidden", ""},
		{user("adam"), "adam", mute, "forbidden", ""},
		{user("adam"), "owner", mute, "forbidden", ""},
		{user("mia"), "max", mute, "forbidden", ""},
		{user("zoe"), "mia", mute, "not_member", ""},
		{server, "owner", mute, "ok", ""},
		{user("adam"), "zoe", mute, "not_found", "ok"}, // in a room he could speak
		{user("adam"), "eve", mute, "not_found", "not_found"},
		{user("adam"), "mia", domain.MemberPatch{Role: domain.Admin, MuteMS: mute.MuteMS}, "forbidden", ""},
		{user("owner"), "mia", domain.MemberPatch{Role: domain.Admin, MuteMS: mute.MuteMS}, "ok", ""},

		{user("owner"), "mia", domain.MemberPatch{}, "bad_request", ""},
		{user("owner"), "mia", domain.MemberPatch{Role: "king"}, "bad_request", ""},
		{user("owner"), "mia", domain.MemberPatch{Role: domain.BlockedIn}, "bad_request", ""},
		{user("owner"), "mia", muted(-2), "bad_request", ""},
		{user("owner"), "mia", muted(1<<52 + 1), "bad_request", ""},
		{user("owner"), "a b", mute, "bad_request", ""},
	} {
		for group, want := range map[string]string{"club": c.club, "room": c.room} {
			if want == "" {
				want = c.club
			}
			w := clubWorld()
			before := fmt.Sprint(w.mysql.members[group])
			require.Equal(t, want, verdict(updateMember(w, c.actor, group, c.user, c.p)), "%+v changes %s of %s: %+v", c.actor, c.user, group, c.p)
			if want != "ok" {
				require.Equal(t, before, fmt.Sprint(w.mysql.members[group]))
				require.Empty(t, w.redis.changes)
			}
		}
	}
	require.Equal(t, "gone", verdict(updateMember(clubWorld(), server, "gone", "owner", mute)))
	require.Equal(t, "forbidden", verdict(updateMember(clubWorld(), server, "dm:ann:bob", "ann", mute)))
	require.Equal(t, "bad_request", verdict(updateMember(clubWorld(), server, "a b", "ann", mute)))
}

func TestHandingOverMakesTheFormerOwnerAnAdmin(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	got, err := w.groups.UpdateMember(ctx, user("owner"), "club", "mia", domain.MemberPatch{Role: domain.Owner})
	require.NoError(t, err)
	require.Equal(t, domain.Owner, got.Role)
	require.Equal(t, "ada:admin adam:admin eve:blocked max:member mia:owner owner:admin", membersOf(w, "club"))
	require.Equal(t, "mia", w.mysql.groups["club"].Owner)
	mia := `{"event":"group","group":"club","change":"role","user":"mia","by":"owner","role":"owner"}`
	former := `{"event":"group","group":"club","change":"role","user":"owner","role":"admin"}`
	require.Equal(t, []string{"user mia but  " + mia, "user owner but  " + former}, w.redis.told)
	require.Equal(t, []domain.Notice{
		{Event: []byte(mia), Except: domain.ExceptUser("mia")}, {Event: []byte(former), Except: domain.ExceptUser("owner")},
	}, w.redis.changes[0].Notices)
	require.Equal(t, "conflict", verdict(w.groups.Leave(ctx, user("mia"), "club")))
	require.NoError(t, w.groups.Leave(ctx, user("owner"), "club"))
}

// Nobody in the group could take it from him.
func TestHandingOverEndsAMute(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	require.NoError(t, updateMember(w, user("adam"), "club", "mia", muted(domain.MuteForever)))
	got, err := w.groups.UpdateMember(ctx, user("owner"), "club", "mia", domain.MemberPatch{Role: domain.Owner})
	require.NoError(t, err)
	require.Zero(t, got.MuteUntilMS)
	require.Contains(t, w.redis.told[len(w.redis.told)-1], `"change":"muted","user":"mia","by":"owner","mute_until_ms":0`)
}

func TestAMuteIsToldAndEnds(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	until := timeOf(1000) + 60_000
	got, err := w.groups.UpdateMember(ctx, user("adam"), "club", "mia", muted(60_000))
	require.NoError(t, err)
	require.Equal(t, until, got.MuteUntilMS)
	require.Equal(t, []string{fmt.Sprintf(`user mia but  {"event":"group","group":"club","change":"muted","user":"mia","by":"adam","mute_until_ms":%d}`, until)}, w.redis.told)

	got, err = w.groups.UpdateMember(ctx, server, "club", "mia", muted(domain.MuteForever))
	require.NoError(t, err)
	require.Equal(t, int64(domain.MuteForever), got.MuteUntilMS)
	got, err = w.groups.UpdateMember(ctx, server, "club", "mia", muted(0))
	require.NoError(t, err)
	require.Zero(t, got.MuteUntilMS)
	require.Contains(t, w.redis.told[2], `"mute_until_ms":0`)
	require.NoError(t, updateMember(w, server, "club", "mia", muted(0)))
	require.Len(t, w.redis.told, 3, "he was not muted")

	m := as(domain.Member, "max")
	m.MuteUntilMS = timeOf(1000)
	w.mysql.members["club"]["max"] = m
	list, _, err := w.groups.Members(ctx, server, "club", "", 0)
	require.NoError(t, err)
	for _, m := range list {
		require.Zero(t, m.MuteUntilMS, "%s: what is over is not shown", m.User)
	}
}

func TestAMuteOutlivesLeavingRemovalAndABlock(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]func(w *world) error{
		"leaving": func(w *world) error { return w.groups.Leave(ctx, user("mia"), "club") },
		"removal": func(w *world) error { return w.groups.RemoveMember(ctx, server, "club", "mia") },
		"block": func(w *world) error {
			if err := w.groups.Block(ctx, server, "club", "mia"); err != nil {
				return err
			}
			return w.groups.Unblock(ctx, server, "club", "mia")
		},
	} {
		w := clubWorld()
		require.NoError(t, updateMember(w, server, "club", "mia", muted(domain.MuteForever)))
		require.NoError(t, out(w), name)
		require.Equal(t, "not_found", verdict(updateMember(w, server, "club", "mia", domain.MemberPatch{Role: domain.Admin})), name)
		members, err := w.groups.AddMembers(ctx, server, "club", []string{"mia"})
		require.NoError(t, err)
		require.Equal(t, int64(domain.MuteForever), members[0].MuteUntilMS, name)

		require.NoError(t, w.groups.Leave(ctx, user("mia"), "club"))
		got, err := w.groups.UpdateMember(ctx, user("adam"), "club", "mia", muted(0))
		require.NoError(t, err, "who has left can be unmuted")
		require.Equal(t, &domain.Membership{User: "mia"}, got)
		require.Equal(t, "not_found", verdict(updateMember(w, server, "club", "mia", muted(0))), name)
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		user  string
		want  string
	}{
		{user("owner"), "mia", "ok"},
		{user("owner"), "adam", "ok"},
		{user("owner"), "zoe", "ok"},
		{user("owner"), "eve", "ok"},
		{user("owner"), "owner", "forbidden"},
		{user("adam"), "mia", "ok"},
		{user("adam"), "zoe", "ok"},
		{user("adam"), "ada", "forbidden"},
		{user("adam"), "owner", "forbidden"},
		{user("mia"), "max", "forbidden"},
		{user("zoe"), "max", "not_member"},
		{user("eve"), "eve", "forbidden"},
		{server, "owner", "conflict"},
		{server, "adam", "ok"},
		{server, "system", "bad_request"},
	} {
		for _, group := range []string{"room", "club"} {
			w := clubWorld()
			require.Equal(t, c.want, verdict(w.groups.Block(ctx, c.actor, group, c.user)), "%+v blocks %s in %s", c.actor, c.user, group)
			if c.want != "ok" {
				continue
			}
			require.Contains(t, membersOf(w, group), c.user+":blocked")
			_, err := w.groups.Get(ctx, user(c.user), group)
			requireCode(t, err, domain.CodeForbidden, "")
			for _, actor := range []domain.Actor{user(c.user), onBehalf(c.user)} {
				_, err = w.groups.Join(ctx, actor, group)
				requireCode(t, err, domain.CodeForbidden, "")
			}
		}
	}
	require.Equal(t, "gone", verdict(clubWorld().groups.Block(ctx, server, "gone", "zoe")))
	require.Equal(t, "forbidden", verdict(clubWorld().groups.Block(ctx, server, "dm:ann:bob", "ann")))
}

func TestWhoIsBlockedIsToldAndHisSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	require.NoError(t, w.groups.Block(ctx, user("adam"), "room", "mia"))
	event := `{"event":"group","group":"room","change":"removed","user":"mia","by":"adam"}`
	require.Equal(t, []string{event + ` came "" gone "mia" dismissed false`}, w.notices())
	require.Equal(t, []domain.Note{{Kind: domain.NoteLeft, Group: "room", Version: 1, Event: []byte(event)}}, w.redis.notes["mia"])

	require.NoError(t, w.groups.Block(ctx, server, "room", "zoe"))
	require.Equal(t, []string{` came "" gone "zoe" dismissed false`}, w.notices(), "the members are not told that a stranger goes")
	require.Contains(t, string(w.redis.notes["zoe"][0].Event), `"change":"removed","user":"zoe"`)
	require.NoError(t, w.groups.Block(ctx, server, "room", "zoe"))
	require.Empty(t, w.redis.notes["zoe"][1].Event, "it is told once")
}

func TestUnblock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor domain.Actor
		user  string
		want  string
	}{
		{user("owner"), "eve", "ok"},
		{user("adam"), "eve", "ok"},
		{server, "eve", "ok"},
		{user("adam"), "nobody", "ok"},
		{user("adam"), "mia", "ok"}, // he stays as he is
		{user("mia"), "eve", "forbidden"},
		{user("eve"), "eve", "forbidden"},
		{user("zoe"), "eve", "not_member"},
		{user("owner"), "a b", "bad_request"},
	} {
		w := clubWorld()
		require.Equal(t, c.want, verdict(w.groups.Unblock(ctx, c.actor, "room", c.user)), "%+v unblocks %s", c.actor, c.user)
		require.Contains(t, membersOf(w, "room"), "mia:member")
		if c.want != "ok" {
			require.Contains(t, membersOf(w, "room"), "eve:blocked")
			continue
		}
		if c.user == "eve" {
			require.NotContains(t, membersOf(w, "room"), "eve")
			require.Equal(t, []string{"eve"}, w.redis.changes[0].Removed)
			_, err := w.groups.Join(ctx, user("eve"), "room")
			require.NoError(t, err)
		}
	}
}

// MySQL has it already when the caller's time is over: Redis must not stay behind until the group changes again.
func TestAChangeReachesRedisAlthoughItsCallersTimeIsOver(t *testing.T) {
	t.Parallel()
	w := clubWorld()
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err := w.groups.Update(over, server, "club", domain.GroupPatch{Muted: new(true)})
	require.NoError(t, err)
	require.Len(t, w.redis.changes, 1)
	require.True(t, w.redis.changes[0].Muted)
}
