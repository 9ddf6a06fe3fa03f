package mysqlrepo

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

func saveReads(t *testing.T, db *DB, group string, reads map[string]int64) {
	t.Helper()
	marks := make(map[domain.GroupUser]int64, len(reads))
	for user, seq := range reads {
		marks[domain.GroupUser{Group: group, User: user}] = seq
	}
	if err := db.SaveReadMarks(t.Context(), marks); err != nil {
		t.Fatal(err)
	}
}

func TestReadersAreCountedAndNamedWhileTheyAreFew(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		saveReads(t, db, "other", map[string]int64{"olga": 100})
		saveReads(t, db, "room", map[string]int64{"cleo": 7, "ann": 5, "Bob": 6, "dora": 4, "eve": 0})
		for name, c := range map[string]struct {
			q     domain.ReaderQuery
			count int
			want  []string
		}{
			"by id":                              {domain.ReaderQuery{Seq: 5, Names: 10}, 3, []string{"Bob", "ann", "cleo"}},
			"as many as are named":               {domain.ReaderQuery{Seq: 5, Names: 3}, 3, []string{"Bob", "ann", "cleo"}},
			"one too many":                       {domain.ReaderQuery{Seq: 5, Names: 2}, 3, nil},
			"without the sender":                 {domain.ReaderQuery{Seq: 5, Names: 2, Without: "ann"}, 2, []string{"Bob", "cleo"}},
			"nobody":                             {domain.ReaderQuery{Seq: 8, Names: 2}, 0, nil},
			"pending ones count once":            {domain.ReaderQuery{Seq: 5, Names: 10, Pending: []string{"zoe", "dora", "Bob"}}, 5, []string{"Bob", "ann", "cleo", "dora", "zoe"}},
			"pending ones, too many":             {domain.ReaderQuery{Seq: 5, Names: 4, Pending: []string{"zoe", "dora", "Bob"}}, 5, nil},
			"many, and pending ones":             {domain.ReaderQuery{Seq: 5, Names: 1, Pending: []string{"zoe", "dora", "Bob"}}, 5, nil},
			"the sender is pending":              {domain.ReaderQuery{Seq: 7, Names: 4, Pending: []string{"zoe"}, Without: "zoe"}, 1, []string{"cleo"}},
			"members only, there are none":       {domain.ReaderQuery{Seq: 5, Names: 4, Pending: []string{"zoe"}, Members: true}, 0, nil},
			"members only, too many who are not": {domain.ReaderQuery{Seq: 0, Names: 1, Pending: []string{"zoe"}, Members: true}, 0, nil},
		} {
			c.q.Group = "room"
			count, users, err := db.Readers(t.Context(), c.q)
			if diff := cmp.Diff(c.want, users); err != nil || count != c.count || diff != "" {
				t.Errorf("%s: got %d (%v), want %d; names (-want +got):\n%s", name, count, err, c.count, diff)
			}
		}
	})
}

func TestReadersOfAGroupAreItsMembers(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		group := domain.Group{ID: "g", Type: domain.Private, Name: "G", Join: domain.JoinInvite, Owner: "ann", MemberLimit: 1000}
		raise(t, db, db.partitions.Of("g"))
		if _, err := db.Create(t.Context(), group, []string{"bob", "cleo", "dora", "mallory"}, nil); err != nil {
			t.Fatal(err)
		}
		execSQL(t, db, "UPDATE group_member SET role='blocked' WHERE group_id='g' AND user_id='mallory'")
		saveReads(t, db, "g", map[string]int64{"ann": 5, "bob": 5, "gone": 5, "mallory": 5, "cleo": 1})
		q := domain.ReaderQuery{Group: "g", Seq: 3, Without: "ann", Members: true, Names: 10, Pending: []string{"cleo", "mallory", "gone", "left"}}
		count, users, err := db.Readers(t.Context(), q)
		if diff := cmp.Diff([]string{"bob", "cleo"}, users); err != nil || count != 2 || diff != "" {
			t.Errorf("got %d (%v), want 2; names (-want +got):\n%s", count, err, diff)
		}
		q.Names = 0
		if count, users, err = db.Readers(t.Context(), q); err != nil || count != 2 || users != nil {
			t.Errorf("counted: got %d, %v (%v), want 2", count, users, err)
		}
	})
}

func TestReadersBesideManyWhoArePending(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		reads := make(map[string]int64)
		var pending []string
		for i := range 500 {
			reads[fmt.Sprint("u", i)] = int64(i)
			pending = append(pending, fmt.Sprint("u", 2*i))
		}
		saveReads(t, db, "room", reads)
		slices.Sort(pending)
		// u400 … u499 by their marks; of the pending ones the even ones below that, and those above.
		count, _, err := db.Readers(t.Context(), domain.ReaderQuery{Group: "room", Seq: 400, Pending: pending, Names: 100})
		if want := 100 + 200 + 250; err != nil || count != want {
			t.Errorf("got %d (%v), want %d", count, err, want)
		}
	})
}
