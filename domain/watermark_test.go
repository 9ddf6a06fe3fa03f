package domain_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// verdicts collects what Wait told.
type verdicts struct{ committed, given, refused int32 }

func (v *verdicts) done(committed bool, err error) {
	atomic.AddInt32(&v.given, 1)
	if committed {
		atomic.AddInt32(&v.committed, 1)
	}
	if domain.CodeOf(err) == domain.CodeInternal {
		atomic.AddInt32(&v.refused, 1)
	}
}

func (v *verdicts) read() [2]int32 {
	return [2]int32{atomic.LoadInt32(&v.committed), atomic.LoadInt32(&v.given)}
}

var (
	waiting   = [2]int32{0, 0}
	committed = [2]int32{1, 1}
	timedOut  = [2]int32{0, 1}
)

func at(group string, gen, seq int64) domain.Accepted {
	return domain.Accepted{Group: group, Gen: gen, Seq: seq}
}

func TestWaitEndsWithTheWatermarkOfItsGeneration(t *testing.T) {
	t.Parallel()
	type raise struct {
		group    string
		gen, seq int64
	}
	for name, c := range map[string]struct {
		raises []raise
		want   [2]int32
	}{
		"nothing":                     {nil, waiting},
		"its seq":                     {[]raise{{"g", 2, 5}}, committed},
		"a higher seq":                {[]raise{{"g", 2, 9}}, committed},
		"a lower seq":                 {[]raise{{"g", 2, 4}}, waiting},
		"lower, then its":             {[]raise{{"g", 2, 4}, {"g", 2, 5}, {"g", 2, 6}}, committed},
		"its, then a late lower one":  {[]raise{{"g", 2, 5}, {"g", 2, 4}}, committed},
		"its, then a late older one":  {[]raise{{"g", 2, 5}, {"g", 1, 9}}, committed},
		"an older generation":         {[]raise{{"g", 1, 9}}, waiting},
		"a newer generation":          {[]raise{{"g", 3, 9}}, waiting},
		"another group":               {[]raise{{"h", 2, 9}}, waiting},
		"another case of the group":   {[]raise{{"G", 2, 9}}, waiting},
		"another group, then its own": {[]raise{{"h", 2, 9}, {"g", 2, 9}}, committed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var before, after verdicts
				var w domain.Watermarks
				w.Wait(at("g", 2, 5), time.Minute, before.done)
				for _, r := range c.raises {
					w.Raise(r.group, r.gen, r.seq)
				}
				w.Wait(at("g", 2, 5), time.Minute, after.done)
				require.Equal(t, c.want, before.read(), "raised after Wait: committed, given")
				require.Equal(t, c.want, after.read(), "raised before Wait: committed, given")
				time.Sleep(time.Minute) // of the fake clock
				synctest.Wait()
				if c.want == waiting {
					require.Equal(t, timedOut, before.read())
					require.Equal(t, timedOut, after.read())
				}
				w.Raise("g", 2, 100)
				require.Equal(t, int32(1), before.read()[1], "told once")
				require.Equal(t, int32(1), after.read()[1], "told once")
			})
		})
	}
}

func TestWaitTimesOutToTheMillisecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var short, long verdicts
		w.Wait(at("g", 1, 5), 10*time.Millisecond, short.done)
		w.Wait(at("g", 1, 5), 20*time.Millisecond, long.done)
		time.Sleep(9 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, waiting, short.read())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, timedOut, short.read())
		require.Equal(t, waiting, long.read())
		w.Raise("g", 1, 5)
		require.Equal(t, committed, long.read())
	})
}

// The row may be committed before the sender comes to wait for it, with other groups' rows after it.
func TestRaiseBeforeWaitIsRememberedForThousandsOfGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		w.Raise("g", 1, 5)
		for i := range 4095 {
			w.Raise("other-"+strconv.Itoa(i), 1, 1)
		}
		var v verdicts
		w.Wait(at("g", 1, 5), time.Second, v.done)
		require.Equal(t, committed, v.read())

		w.Raise("another", 1, 1) // turns the page of what is remembered
		w.Raise("g", 1, 3)       // late
		v = verdicts{}
		w.Wait(at("g", 1, 5), time.Second, v.done)
		require.Equal(t, committed, v.read())
	})
}

func TestRaiseAndWaitMeetFromManyGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var v verdicts
		const sends = 500
		for seq := int64(1); seq <= sends; seq++ {
			go w.Wait(at("g", 1, seq), time.Hour, v.done)
			go w.Raise("g", 1, seq)
		}
		synctest.Wait()
		require.Equal(t, [2]int32{sends, sends}, v.read(), "committed, given")
	})
}

func TestATimeoutAndARaiseAtOnceTellOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var v verdicts
		const sends = 200
		for range sends {
			w.Wait(at("g", 1, 1), time.Second, v.done)
		}
		go func() {
			time.Sleep(time.Second)
			w.Raise("g", 1, 1)
		}()
		time.Sleep(2 * time.Second)
		require.Equal(t, int32(sends), v.read()[1])
	})
}

// A done may use the Watermarks again: no lock is held while it runs.
func TestDoneMayWaitAndRaise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var inner verdicts
		w.Wait(at("g", 1, 1), time.Second, func(bool, error) {
			w.Wait(at("g", 1, 2), time.Second, inner.done)
			w.Raise("g", 1, 2)
		})
		w.Raise("g", 1, 1)
		require.Equal(t, committed, inner.read())
	})
}

func TestARefusedMessageIsNeverCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var before, below, above, other, after verdicts
		w.Wait(at("g", 1, 5), time.Minute, before.done)
		w.Wait(at("g", 1, 4), time.Minute, below.done)
		w.Wait(at("g", 1, 6), time.Minute, above.done)
		w.Wait(at("g", 2, 5), time.Minute, other.done) // of another generation
		w.Fail("g", 1, 5)
		require.Equal(t, verdicts{given: 1, refused: 1}, before)
		w.Raise("g", 1, 6)
		w.Wait(at("g", 1, 5), time.Minute, after.done) // its appender was slower than the persister
		require.Equal(t, verdicts{given: 1, refused: 1}, before, "told once")
		require.Equal(t, verdicts{given: 1, refused: 1}, after)
		require.Equal(t, verdicts{given: 1, committed: 1}, below)
		require.Equal(t, verdicts{given: 1, committed: 1}, above)
		require.Equal(t, verdicts{}, other)
		w.Raise("g", 2, 5)
		require.Equal(t, verdicts{given: 1, committed: 1}, other)
	})
}

func TestManyFailuresAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		const n = 10_000
		for seq := int64(1); seq <= n; seq++ {
			w.Fail("g", 1, seq)
		}
		w.Raise("g", 1, n)
		for _, seq := range []int64{n, n - 4000} {
			var v verdicts
			w.Wait(at("g", 1, seq), time.Minute, v.done)
			require.Equal(t, verdicts{given: 1, refused: 1}, v, seq)
		}
	})
}

func TestStoredEndsTheWaitForOneMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w domain.Watermarks
		var before, its, behind, older verdicts
		w.Wait(at("g", 2, 4), time.Second, before.done)
		w.Wait(at("g", 2, 5), time.Second, its.done)
		w.Wait(at("g", 2, 6), time.Second, behind.done)
		w.Wait(at("g", 1, 5), time.Second, older.done)
		w.Stored("g", 2, 5)
		require.Equal(t, [][2]int32{waiting, committed, waiting, waiting},
			[][2]int32{before.read(), its.read(), behind.read(), older.read()}, "it says nothing of others")
		w.Stored("g", 2, 5)
		time.Sleep(2 * time.Second)
		require.Equal(t, [][2]int32{timedOut, committed, timedOut, timedOut},
			[][2]int32{before.read(), its.read(), behind.read(), older.read()})
	})
}
