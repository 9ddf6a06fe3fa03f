package domain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func groupsOf(heads []domain.Head) (groups []string) {
	for i := range heads {
		groups = append(groups, heads[i].Group)
	}
	return groups
}

func inTwoGroups() *world {
	w := newWorld()
	w.add(domain.Group{ID: "a", Type: domain.Private}, as(domain.Member, "ann"))
	w.add(domain.Group{ID: "b", Type: domain.Private}, as(domain.Member, "ann"))
	return w
}

func TestAUsersGroupsAreRememberedAndBelievedForAWhile(t *testing.T) {
	t.Parallel()
	w := inTwoGroups()
	w.redis.lastNote = "5-0"
	for _, known := range []bool{false, true} {
		heads, err := w.history.Mine(ctx, "ann", "5-0")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, groupsOf(heads), "known %v", known)
	}
	require.Equal(t, 1, w.mysql.calls["GroupsOf"])
	w.redis.ownAge = 10 * time.Minute
	_, err := w.history.Mine(ctx, "ann", "5-0")
	require.NoError(t, err)
	require.Equal(t, 2, w.mysql.calls["GroupsOf"], "an old list is asked for again")
}

func TestAListThatIsNotOfThisMomentIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := inTwoGroups()
	w.redis.lastNote = "6-0" // he was told of a change since
	for _, lastNote := range []string{"5-0", ""} {
		_, err := w.history.Mine(ctx, "ann", lastNote)
		require.NoError(t, err)
		require.Empty(t, w.redis.own)
	}
}

func TestUsersConnectWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	w := inTwoGroups()
	_, err := w.history.Mine(ctx, "ann", "")
	require.NoError(t, err, "the groups and their numbers are cached")
	w.mysql.down = errDown
	_, err = w.history.Mine(ctx, "ann", "")
	requireCode(t, err, domain.CodeUnavailable, "")
	w.redis.own["ann"], w.redis.ownAge = []string{"a", "b", "left"}, time.Hour
	w.redis.groups["left"] = &domain.GroupSnapshot{Group: domain.Group{ID: "left", Type: domain.Private}}
	w.redis.floors["left"] = domain.Floor{}
	w.redis.reads[domain.GroupUser{Group: "left", User: "ann"}] = 0
	heads, err := w.history.Mine(ctx, "ann", "")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, groupsOf(heads), "what the list says is looked at")
	w.redis.down = errDown
	_, err = w.history.Mine(ctx, "ann", "")
	requireCode(t, err, domain.CodeUnavailable, "")
}

// hangingMySQL does not answer, and refuses nothing.
type hangingMySQL struct{ domain.MessageStore }

func (hangingMySQL) GroupsOf(ctx context.Context, _, _ string, _ int) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAMySQLThatHangsIsWaitedForBrieflyWhereAnOldListWillDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inTwoGroups()
		_, err := w.history.Mine(ctx, "ann", "")
		require.NoError(t, err, "the groups and their numbers are cached")
		history := domain.NewHistory(w.heads, w.redis, hangingMySQL{w.mysql}, w.redis, w.redis, w.redis)
		w.redis.own["ann"], w.redis.ownAge = []string{"a", "b"}, time.Hour
		start := time.Now()
		heads, err := history.Mine(ctx, "ann", "")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, groupsOf(heads))
		require.Equal(t, 500*time.Millisecond, time.Since(start))

		delete(w.redis.own, "ann")
		start = time.Now()
		all, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err = history.Mine(all, "ann", "")
		requireCode(t, err, domain.CodeUnavailable, "")
		require.Equal(t, 5*time.Second, time.Since(start), "without a list there is nothing else to go by")
	})
}
