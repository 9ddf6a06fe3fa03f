package mysqlrepo

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

func TestReadersAreListedById(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		marks := map[domain.GroupUser]int64{{Group: "other", User: "olga"}: 100}
		for user, seq := range map[string]int64{"cleo": 7, "ann": 5, "Bob": 6, "dora": 4, "eve": 0} {
			marks[domain.GroupUser{Group: "room", User: user}] = seq
		}
		if err := db.SaveReadMarks(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			seq   int64
			limit int
			want  []string
		}{
			{5, 0, []string{"Bob", "ann", "cleo"}},
			{5, 2, []string{"Bob", "ann"}},
			{7, 10, []string{"cleo"}},
			{8, 0, nil},
		} {
			got, err := db.Readers(t.Context(), "room", c.seq, c.limit)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("readers of %d, at most %d (-want +got): %v\n%s", c.seq, c.limit, err, diff)
			}
		}
	})
}
