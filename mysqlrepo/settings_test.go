package mysqlrepo

import (
	"strings"
	"sync"
	"testing"
)

func TestSettingIsSetOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if got, err := db.Setting(t.Context(), "color"); got != "" || err != nil {
			t.Errorf("before: got %q, %v, want none", got, err)
		}
		var wg sync.WaitGroup
		answers := make([]string, 6)
		for i := range answers {
			wg.Go(func() {
				var err error
				if answers[i], err = db.SetSettingOnce(t.Context(), "color", string(rune('a'+i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		stored, err := db.Setting(t.Context(), "color")
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range answers {
			if got != stored {
				t.Errorf("answer %d: got %q, want %q as stored", i, got, stored)
			}
		}
	})
}

func TestNumberOfPartitionsIsFixedAtTheFirstStart(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for range 2 {
			if err := db.CheckPartitions(t.Context(), 16); err != nil {
				t.Fatal(err)
			}
		}
		err := db.CheckPartitions(t.Context(), 8)
		if err == nil || !strings.Contains(err.Error(), "16") || !strings.Contains(err.Error(), "8") {
			t.Errorf("got %v, want an error that names both numbers", err)
		}
		if err := db.CheckPartitions(t.Context(), 0); err == nil {
			t.Error("no partitions: got nil, want an error")
		}
	})
}
