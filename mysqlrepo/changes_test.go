package mysqlrepo

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

var allPartitions = []int{0, 1, 2, 3} // of testConfig

func unapplied(t testing.TB, db *DB, partitions []int, age time.Duration) (list []string) {
	t.Helper()
	changes, _, err := db.Unapplied(t.Context(), partitions, age, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		list = append(list, c.ID+" "+strings.Join(c.Removed, ",")+" "+string(c.Type))
	}
	return list
}

func TestAChangeIsKeptUntilItIsApplied(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		tell := func(c *domain.GroupChange) {
			c.Events = []domain.GroupEvent{{Group: c.ID, Change: domain.ChangeCreated, By: "key"}}
			c.Notes = map[string]domain.Note{"ann": {Kind: domain.NoteJoined, Group: c.ID, Version: c.Version, Event: []byte("{}")}}
			c.Notices = []domain.Notice{{Event: []byte("{}"), Came: "ann", Version: c.Version}}
		}
		g := domain.Group{ID: "g", Type: domain.Private, Name: "é"}
		made, err := db.Create(t.Context(), g, []string{"ann", "ben"}, tell)
		if err != nil || made.Kept == 0 {
			t.Fatalf("got %+v, %v, want it kept", made, err)
		}
		changes, _, err := db.Unapplied(t.Context(), allPartitions, 0, 0, 100)
		if err != nil || len(changes) != 1 {
			t.Fatalf("got %+v, %v, want the change", changes, err)
		}
		made.Attributes = changes[0].Attributes // none, or null
		if diff := cmp.Diff(made, changes[0]); diff != "" {
			t.Errorf("what is kept (-made +kept):\n%s", diff)
		}
		removed, err := takeOut(t.Context(), db, "g", "ben")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := takeOut(t.Context(), db, "g", "ben"); err != nil { // changes nothing
			t.Fatal(err)
		}
		if got := unapplied(t, db, allPartitions, 0); len(got) != 2 || got[1] != "g ben group" {
			t.Errorf("got %q, want the two changes in their order", got)
		}
		if got := unapplied(t, db, allPartitions, time.Hour); len(got) != 0 {
			t.Errorf("got %q, want none that is an hour old", got)
		}
		of := db.partitions.Of("g")
		if got := unapplied(t, db, []int{(of + 1) % 4}, 0); len(got) != 0 {
			t.Errorf("got %q, want none of another partition", got)
		}
		for _, c := range []*domain.GroupChange{made, removed} {
			if err := db.Applied(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if got := unapplied(t, db, allPartitions, 0); len(got) != 0 {
			t.Errorf("got %q, want none", got)
		}
	})
}

func TestAChangeThatFailsIsNotKept(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "g", "ann")
		before := unapplied(t, db, allPartitions, 0)
		_, err := db.Create(t.Context(), domain.Group{ID: "g"}, nil, nil)
		wantCode(t, err, domain.CodeConflict)
		_, err = db.AddMembers(t.Context(), "none", []string{"ann"}, 0, nil)
		wantCode(t, err, domain.CodeNotFound)
		if got := unapplied(t, db, allPartitions, 0); len(got) != len(before) {
			t.Errorf("got %q, want %q", got, before)
		}
	})
}

func TestAChangeThatCannotBeReadHidesNoOther(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		execSQL(t, db, "INSERT INTO group_change (partition_id, group_id, payload, created_time) VALUES (0, 'x', '?', 0)")
		create(t, db, "g", "ann")
		changes, _, err := db.Unapplied(t.Context(), allPartitions, 0, 0, 100)
		page, next, _ := db.Unapplied(t.Context(), allPartitions, 0, 0, 1)
		rest, last, _ := db.Unapplied(t.Context(), allPartitions, 0, next, 2)
		if len(page) != 0 || len(rest) != 1 || last != 0 {
			t.Errorf("got %+v and %+v behind it, then %d, want none, the change of g, and no more", page, rest, last)
		}
		if len(changes) != 1 || changes[0].ID != "g" || err == nil || !strings.Contains(err.Error(), "group x") {
			t.Errorf("got %+v, %v, want the change of g, and an error that names x", changes, err)
		}
	})
}
