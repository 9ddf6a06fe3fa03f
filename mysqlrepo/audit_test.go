package mysqlrepo

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// auditOf is what Audit says of groups, with a line a message.
func auditOf(t *testing.T, db *DB, groups ...string) (all []domain.AuditedRows, lines []string) {
	t.Helper()
	err := db.Audit(t.Context(), groups, func(r domain.AuditedRows) func(*domain.Message) {
		all = append(all, r)
		return func(m *domain.Message) {
			require.Equal(t, m.Hash, domain.ContentHash(m.Body, m.Mentions, m.ReplyTo))
			lines = append(lines, fmt.Sprintf("%s/%d gen %d %s %v", m.Group, m.Seq, m.Gen, m.From, m.Mentions))
		}
	})
	require.NoError(t, err)
	return all, lines
}

func TestAuditReadsGroupsWhole(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("b"))
		create(t, db, "a", "ann")
		create(t, db, "b", "ann", "bob")
		mentioning := message("b", 4, gen)
		mentioning.Mentions = []string{"ann", "bob"}
		mentioning.Hash = domain.ContentHash(mentioning.Body, mentioning.Mentions, 0)
		insert(t, db, message("b", 2, gen), message("b", 3, gen), mentioning)
		execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES ('b', 1, 1, 'lost'), ('b', 5, 5, 'lost'), ('other', 1, 9, 'lost')")
		execSQL(t, db, "INSERT INTO seq_seed (group_id, gen, start_seq) VALUES ('b', 1, 0), ('b', 2, 5)")
		all, lines := auditOf(t, db, "b", "a", "none")
		require.Equal(t, []string{"b/2 gen 1 u2 []", "b/3 gen 1 u0 []", "b/4 gen 1 u1 [ann bob]"}, lines)
		require.Len(t, all, 2, "a group that there is not is left out")
		require.Equal(t, "a", all[0].ID)
		require.Len(t, all[0].Members, 1)
		b := all[1]
		require.Equal(t, 2, b.MemberCount)
		require.Len(t, b.Members, 2)
		require.Equal(t, map[string]int64{"u2": 2, "u0": 3, "u1": 4}, b.Marks)
		require.Equal(t, []domain.Hole{{From: 1, To: 1, Reason: "lost"}, {From: 5, To: 5, Reason: "lost"}}, b.Holes)
		require.Equal(t, int64(5), b.Seed)
	})
}

func TestAuditPageIsBoundByMembersToo(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for _, g := range []string{"a", "b", "c", "d"} {
			create(t, db, g, "ann", "bob", "eve")
		}
		_, err := db.Dismiss(t.Context(), "b", nil)
		require.NoError(t, err)
		page := func(after string, limit, members int) []string {
			groups, err := db.AuditPage(t.Context(), after, limit, members)
			require.NoError(t, err)
			return groups
		}
		require.Equal(t, []string{"a", "b", "c", "d"}, page("", 10, 100))
		require.Equal(t, []string{"a", "b", "c"}, page("", 3, 100))
		require.Equal(t, []string{"b", "c"}, page("a", 3, 6))
		require.Equal(t, []string{"d"}, page("c", 3, 1), "one is always taken")
		require.Empty(t, page("d", 3, 6))
		known, err := db.KnownGroups(t.Context(), []string{"a", "b", "x"})
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"a": false, "b": true}, known)
	})
}

func TestSpokeLeavesOutWhoDoesNotCount(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		at := func(seq, ms int64, from string, typ domain.GroupType) domain.Message {
			m := message("g", seq, gen)
			m.TimeMS, m.From, m.GroupType = ms, from, typ
			return m
		}
		insert(t, db, at(1, 100, "old", domain.Room), at(2, 200, "ann", domain.Room), at(3, 300, "ann", domain.Room),
			at(4, 310, domain.SystemUser, domain.Room), at(5, 320, "bob", domain.Direct), at(6, 400, "eve", domain.Room))
		refused := at(7, 410, "mallory", domain.Room)
		dead, err := db.AddDeadLetter(t.Context(), &refused, "refused")
		require.NoError(t, err)
		require.True(t, dead)
		want := map[domain.GroupUser]domain.Spoke{
			{Group: "g", User: "mallory"}: {LastMS: 410}, {Group: "g", User: "ann"}: {LastMS: 300, BeforeMS: 200}, {Group: "g", User: "eve"}: {LastMS: 400},
		}
		for _, group := range []string{"", "g"} {
			spoke, err := db.Spoke(t.Context(), group, 100, 300)
			require.NoError(t, err)
			require.Equal(t, want, spoke, "group %q", group)
		}
		spoke, err := db.Spoke(t.Context(), "other", 100, 300)
		require.NoError(t, err)
		require.Empty(t, spoke)
	})
}

func TestSamePartitionsOnlyLooks(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		require.NoError(t, db.SamePartitions(t.Context(), 8), "nothing has started yet")
		require.NoError(t, db.CheckPartitions(t.Context(), 4), "and nothing was stored")
		require.NoError(t, db.SamePartitions(t.Context(), 4))
		require.ErrorContains(t, db.SamePartitions(t.Context(), 8), "fixed for life")
	})
}
