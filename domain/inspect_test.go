package domain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// inspected is both sides of an inspection.
type inspected struct {
	cached    domain.CachedGroup
	stored    domain.StoredGroup
	cacheErr  error
	storeErr  error
	groupsErr error
	sessions  []domain.Session
	seenMS    int64
	groups    []string
}

func (i *inspected) InspectGroup(context.Context, string) (*domain.CachedGroup, error) {
	return &i.cached, i.cacheErr
}

func (i *inspected) SessionsOf(_ context.Context, users []string) (map[string][]domain.Session, error) {
	return map[string][]domain.Session{users[0]: i.sessions}, i.cacheErr
}

func (i *inspected) Presence(_ context.Context, users []string) (map[string]domain.Presence, error) {
	return map[string]domain.Presence{users[0]: {Online: len(i.sessions) > 0, LastSeenMS: i.seenMS}}, i.cacheErr
}

type inspectedRows struct{ *inspected }

func (i inspectedRows) InspectGroup(context.Context, string) (*domain.StoredGroup, error) {
	return &i.stored, i.storeErr
}

func (i inspectedRows) GroupsOf(_ context.Context, _, after string, limit int) (page []string, err error) {
	for _, group := range i.groups {
		if group > after && len(page) < limit {
			page = append(page, group)
		}
	}
	return page, i.groupsErr
}

func (i *inspected) inspector(w *world) *domain.Inspector {
	return domain.NewInspector(i, inspectedRows{i}, w.heads, domain.Partitions(16), domain.HeatWeights{})
}

func tea() *inspected {
	holes := domain.Holes{{From: 5, To: 5, Reason: domain.HoleLost}, {From: 119, To: 119, Reason: domain.HoleLost}}
	i := &inspected{
		cached: domain.CachedGroup{
			Partition: 7, Gen: 3, RecentFrom: 21, RecentTo: 120, RecentCount: 99, Online: 2,
			Heat: domain.GroupHeat{Speakers: 3, Messages: 11},
			CachedHead: domain.CachedHead{GroupLoaded: true, Seeded: true, Head: domain.Head{
				Name: "Tee", Type: domain.Room, Version: 8, MaxSeq: 120, PersistedSeq: 117, Holes: holes,
			}},
		},
		stored: domain.StoredGroup{
			Group:  domain.Group{ID: "tea", Name: "Tea", Type: domain.Room, Owner: "ann", MemberCount: 12, Version: 9},
			MinSeq: 1, MaxSeq: 118, Count: 117, Holes: holes[:1], DeadLetters: []int64{5},
		},
	}
	return i
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

// Heat is what the ranking says.
func TestInspectedHeatIsWeighed(t *testing.T) {
	t.Parallel()
	i, w := tea(), newWorld()
	weights := domain.HeatWeights{Speakers: 10, Messages: 2, Online: 5}
	inspector := domain.NewInspector(i, inspectedRows{i}, w.heads, domain.Partitions(16), weights)
	got, err := inspector.Group(t.Context(), "tea")
	require.NoError(t, err)
	require.Equal(t, 10*3+2*11+5*2, *got.Heat)
	i.cached.Heat = domain.GroupHeat{}
	got, err = inspector.Group(t.Context(), "tea")
	require.NoError(t, err)
	require.Zero(t, *got.Heat, "a group that is only looked at is not ranked")
}

func TestInspectionShowsBothStoresSideBySide(t *testing.T) {
	t.Parallel()
	i, w := tea(), newWorld()
	p := domain.Partitions(16).Of("tea")
	got, err := i.inspector(w).Group(t.Context(), "tea")
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"group":"tea","name":"Tea","type":"room","owner":"ann","members":12,"online":2,"heat":3,"version":9,
		"partition":%d,"generation":3,
		"redis":{"max_seq":120,"recent_from":21,"recent_to":120,"recent_count":99,"persisted_seq":117},
		"mysql":{"min_seq":1,"max_seq":118,"count":117},"unwritten":{"from":118,"to":120,"count":2},
		"holes":[{"from":5,"to":5,"reason":"lost"}],"dead_letters":[5]}`, p), asJSON(t, got))

	i.storeErr = errDown
	got, err = i.inspector(w).Group(t.Context(), "tea")
	require.NoError(t, err, "Redis tells what it knows")
	require.JSONEq(t, fmt.Sprintf(`{"group":"tea","name":"Tee","type":"room","online":2,"heat":3,"version":8,"partition":%d,"generation":3,
		"redis":{"max_seq":120,"recent_from":21,"recent_to":120,"recent_count":99,"persisted_seq":117},
		"mysql":null,"unwritten":{"from":118,"to":120,"count":2},
		"holes":[{"from":5,"to":5,"reason":"lost"},{"from":119,"to":119,"reason":"lost"}]}`, p), asJSON(t, got))

	i.storeErr, i.cacheErr = nil, errDown
	got, err = i.inspector(w).Group(t.Context(), "tea")
	require.NoError(t, err, "and so does MySQL")
	require.JSONEq(t, fmt.Sprintf(`{"group":"tea","name":"Tea","type":"room","owner":"ann","members":12,"version":9,"partition":%d,
		"redis":null,"mysql":{"min_seq":1,"max_seq":118,"count":117},"unwritten":null,
		"holes":[{"from":5,"to":5,"reason":"lost"}],"dead_letters":[5]}`, p), asJSON(t, got))

	i.storeErr = errDown
	_, err = i.inspector(w).Group(t.Context(), "tea")
	requireCode(t, err, domain.CodeUnavailable, "")
	_, err = i.inspector(w).Group(t.Context(), "a/b")
	requireCode(t, err, domain.CodeBadRequest, "group")
}

func TestInspectionOfAGroupThatIsNowhereIsNotFound(t *testing.T) {
	t.Parallel()
	none := domain.Errorf(domain.CodeNotFound, "there is no such group")
	i, w := &inspected{storeErr: none}, newWorld()
	_, err := i.inspector(w).Group(t.Context(), "tea")
	requireCode(t, err, domain.CodeNotFound, "")
	i.storeErr = errDown
	_, err = i.inspector(w).Group(t.Context(), "tea")
	requireCode(t, err, domain.CodeUnavailable, "")

	i = tea() // MySQL went back to a backup
	i.storeErr = none
	got, err := i.inspector(w).Group(t.Context(), "tea")
	require.NoError(t, err)
	require.Equal(t, int64(0), *got.MySQL.Count)
	require.Equal(t, int64(120), got.Redis.MaxSeq)
}

func TestInspectionIsBounded(t *testing.T) {
	t.Parallel()
	i, w := tea(), newWorld()
	i.stored.Count, i.stored.Dismissed = domain.InspectRows+1, true
	i.cached = domain.CachedGroup{}
	i.stored.Holes = nil
	for n := range int64(3000) {
		i.stored.Holes = append(i.stored.Holes, domain.Hole{From: 2*n + 1, To: 2*n + 1, Reason: domain.HoleLost})
	}
	got, err := i.inspector(w).Group(t.Context(), "tea")
	require.NoError(t, err)
	require.Nil(t, got.MySQL.Count, "it was not counted to its end")
	require.Nil(t, got.Redis, "it knows nothing of the group")
	require.True(t, got.Dismissed)
	require.Len(t, got.Holes, 1000)
	require.Equal(t, int64(5999), got.Holes[999].To, "the latest")
}

func TestInspectionOfAUser(t *testing.T) {
	t.Parallel()
	w := newWorld()
	i := &inspected{
		sessions: []domain.Session{
			{Conn: "c2", Instance: "b#2", Device: "ios", OpenedMS: 20}, {Conn: "c1", Instance: "a#1", OpenedMS: 10},
		},
	}
	for n := range 60 {
		group := fmt.Sprintf("g%02d", n)
		i.groups = append(i.groups, group)
		w.add(domain.Group{ID: group, Type: domain.Private}, as(domain.Member, "ann"))
	}
	w.seed("g00", 10, 10)
	w.mysql.reads[domain.GroupUser{Group: "g00", User: "ann"}] = 8
	got, err := i.inspector(w).User(t.Context(), "ann", "")
	require.NoError(t, err)
	require.True(t, got.Online)
	require.Equal(t, []domain.InspectedConnection{
		{Conn: "c1", Instance: "a", SinceMS: 10}, {Conn: "c2", Instance: "b", Device: "ios", SinceMS: 20},
	}, got.Connections)
	require.Len(t, got.Groups, 50)
	require.Equal(t, domain.InspectedPlace{Group: "g00", Role: domain.Member, MaxSeq: 10, ReadSeq: 8, Unread: 2}, got.Groups[0])
	require.Equal(t, "g49", got.Cursor)
	got, err = i.inspector(w).User(t.Context(), "ann", got.Cursor)
	require.NoError(t, err)
	require.Len(t, got.Groups, 10)
	require.Empty(t, got.Cursor)

	i.groupsErr = errDown
	got, err = i.inspector(w).User(t.Context(), "ann", "")
	require.NoError(t, err)
	require.Contains(t, asJSON(t, got), `"groups":null`, "MySQL is away, he is not")
	i.cacheErr = errDown
	_, err = i.inspector(w).User(t.Context(), "ann", "")
	requireCode(t, err, domain.CodeUnavailable, "")
}

func TestInspectionOfNobodyIsNotFound(t *testing.T) {
	t.Parallel()
	i, w := &inspected{}, newWorld()
	_, err := i.inspector(w).User(t.Context(), "ann", "")
	requireCode(t, err, domain.CodeNotFound, "")
	i.seenMS = 7
	got, err := i.inspector(w).User(t.Context(), "ann", "")
	require.NoError(t, err)
	require.JSONEq(t, `{"user":"ann","online":false,"last_seen_ms":7,"connections":[],"groups":[]}`, asJSON(t, got))
	_, err = i.inspector(w).User(t.Context(), "a/b", "")
	requireCode(t, err, domain.CodeBadRequest, "user")
	_, err = i.inspector(w).User(t.Context(), "ann", "a/b")
	requireCode(t, err, domain.CodeBadRequest, "cursor")
}
