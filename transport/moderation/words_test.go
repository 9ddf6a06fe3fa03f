package moderation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"hearth/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes a list of lines.
func write(t testing.TB, lines ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "words.txt")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	return path
}

func words(t testing.TB, lines ...string) *Words {
	t.Helper()
	w, err := New(write(t, lines...), zerolog.Nop(), prometheus.NewRegistry())
	require.NoError(t, err)
	return w
}

// textBody is a body of one text.
func textBody(text string) []byte {
	quoted, _ := json.Marshal(text) // texts always marshal
	return []byte(`[{"type":"text","text":` + string(quoted) + `}]`)
}

// shown is what others see of a text; "rejected" if nothing.
func shown(t testing.TB, w *Words, text string) string {
	t.Helper()
	body, err := w.Body(textBody(text))
	if domain.CodeOf(err) == domain.CodeRejected {
		return "rejected"
	}
	require.NoError(t, err)
	var elements []struct{ Text string }
	require.NoError(t, json.Unmarshal(body, &elements), "%s", body)
	return elements[0].Text
}

func TestWordsAreFound(t *testing.T) {
	t.Parallel()
	w := words(t,
		"# a comment",
		"",
		"reject: poison",
		"mask: darn",
		"mask:*heck*",
		"mask: pre*",
		"mask: *post",
		"  mask:  two words  ",
		"mask: 坏话",
		"reject: 毒药",
		"mask: カス",
		"mask: straße",
		"mask: Ёлка",
		"mask: a-b",
		"mask: naïve",
		"mask: 욕설",
		"mask: ขยะ",
		"mask: :-(",
		"mask: fine",
		"mask: 42",
	)
	for text, want := range map[string]string{
		"nothing here":               "nothing here",
		"darn":                       "****",
		"well, DaRn!":                "well, ****!",
		"darning, undarned":          "darning, undarned",
		"darn_it darn-it d'arn":      "****_it ****-it d'arn",
		"darn darn":                  "**** ****",
		"whatheckler HECK":           "what****ler ****",
		"prefix unpre pre":           "***fix unpre ***",
		"postman outpost":            "postman out****",
		"poison":                     "rejected",
		"darn poison":                "rejected",
		"poisonous":                  "poisonous",
		"Two Words":                  "*********",
		"two  words":                 "two  words",
		"说坏话的人":                      "说**的人",
		"有毒药吗":                       "rejected",
		"バカスト":                       "バ**ト",
		"ﾊﾞｶｽ":                       "ﾊﾞ**",
		"ＤＡＲＮ":                       "****",
		"das坏话das":                   "das**das",
		"darn坏":                      "****坏",
		"STRASSE straße STRAẞE":      "STRASSE ****** ******",
		"ёлка ЁЛКА е\u0308лка":       "**** **** *****",
		"dar\u200bn d\u00adarn":      "***** *****",
		"\u200bdarn\u200b":           "\u200b****\u200b",
		"da\ufe0frn":                 "*****",
		"nai\u0308ve NAÏVE naive":    "****** ***** naive",
		"a-b xa-b":                   "*** xa-b",
		"darn\u0301":                 "darn\u0301", // another letter at its end
		"너는 욕설이다":                    "너는 **이다",
		"ทิ้งขยะที่":                 "ทิ้ง***ที่",
		"sad:-(":                     "sad***",
		"ﬁne":                        "***",
		"ﬁnery":                      "ﬁnery",
		"142 42 ４２":                  "142 ** **",
		"emoji 😀darn😀":               "emoji 😀****😀",
		"\u212Barn, \u017Fo, \u0000": "\u212Barn, \u017Fo, \u0000",
		`quo"ted darn \ and <b>`:     `quo"ted **** \ and <b>`,
		"line\ndarn\u2028end":        "line\n****\u2028end",
	} {
		require.Equal(t, want, shown(t, w, text), "%q", text)
		require.Equal(t, utf8.RuneCountInString(text) == utf8.RuneCountInString(want), want != "rejected" || len(text) == len(want), "%q", text)
	}
}

func TestOverlappingWords(t *testing.T) {
	t.Parallel()
	w := words(t, "mask: *abc*", "mask: *cde*", "mask: *b*", "mask: *xyz*", "reject: *xyzzy*", "mask: twice", "reject: TWICE")
	require.Equal(t, "*****", shown(t, w, "abcde"))
	require.Equal(t, "-*-", shown(t, w, "-b-"))
	require.Equal(t, "***", shown(t, w, "xyz"))
	require.Equal(t, "rejected", shown(t, w, "xyzzy"))
	require.Equal(t, "rejected", shown(t, w, "twice"), "the stricter line holds")
}

func TestEveryFieldThatPeopleRead(t *testing.T) {
	t.Parallel()
	w := words(t, "mask: darn", "reject: poison")
	for body, want := range map[string]string{
		`[{"type":"text","text":"darn"},{"type":"text","text":"ok"},{"text":"darn","type":"text"}]`:       `[{"type":"text","text":"****"},{"type":"text","text":"ok"},{"text":"****","type":"text"}]`,
		`[{"type":"file","url":"https://darn.example/darn","name":"darn.pdf","bytes":1}]`:                 `[{"type":"file","url":"https://darn.example/darn","name":"****.pdf","bytes":1}]`,
		`[{"type":"location","latitude":1e0,"longitude":1,"title":"darn place"}]`:                         `[{"type":"location","latitude":1e0,"longitude":1,"title":"**** place"}]`,
		`[{"type":"location","latitude":1,"longitude":1,"title":null}]`:                                   `[{"type":"location","latitude":1,"longitude":1,"title":null}]`,
		`[{"type":"custom","data":{"text":"darn","a":["poison"]},"desc":"darn"}]`:                         `[{"type":"custom","data":{"text":"darn","a":["poison"]},"desc":"****"}]`,
		`[{"type":"custom","data":"darn"}]`:                                                               `[{"type":"custom","data":"darn"}]`,
		`[{"type":"text","te\u0078t":"d\u0061rn \u00e9\ud83d\ude00"}]`:                                    `[{"type":"text","te\u0078t":"**** é😀"}]`,
		`[{"type":"text","text":"ok"},{"type":"text","text":"poison"}]`:                                   "",
		`[{"type":"text","text":"darn"},{"type":"file","url":"/v1/uploads/a","name":"poison","bytes":0}]`: "",
	} {
		before := bytes.Clone([]byte(body))
		got, err := w.Body(before)
		require.Equal(t, body, string(before), "the original stays as it is: it tells repeats")
		if want == "" {
			require.Equal(t, domain.CodeRejected, domain.CodeOf(err), body)
			require.NotContains(t, err.Error(), "poison")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.Equal(t, 5.0, testutil.ToFloat64(w.masked), "bodies, not words")
	require.Equal(t, 2.0, testutil.ToFloat64(w.rejected))
}

func TestNamesAreRefusedNotMasked(t *testing.T) {
	t.Parallel()
	w := words(t, "mask: darn", "reject: poison")
	require.NoError(t, w.Name("name", "Poisonous plants"))
	for _, name := range []string{"Darn room", "poison"} {
		err := domain.AsError(w.Name("name", name))
		require.Equal(t, domain.CodeRejected, err.Code)
		require.Equal(t, "name", err.Field)
	}
	require.Equal(t, 2.0, testutil.ToFloat64(w.rejected))
}

func TestMistakesNameTheirLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"reject: a\nsecret": "line 2: must begin with \"reject:\" or \"mask:\"",
		"block: secret":     "line 1: must begin with \"reject:\" or \"mask:\"",
		"Mask: secret":      "line 1: must begin with \"reject:\" or \"mask:\"",
		"# x\n\nmask:":      "line 3: has no word",
		"mask: **":          "line 1: has no word",
		"mask: \u200b":      "line 1: has no word",
		"mask: a\xff":       "is not valid UTF-8",
		"mask: secret\nmask:" + strings.Repeat("x", 1<<20): "line 2: the words take more than 1048576 bytes",
	} {
		path := write(t, text)
		_, err := New(path, zerolog.Nop(), prometheus.NewRegistry())
		require.EqualError(t, err, "word list "+path+": "+want)
	}
	_, err := New(filepath.Join(t.TempDir(), "none"), zerolog.Nop(), prometheus.NewRegistry())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAnEmptyListAndOddFiles(t *testing.T) {
	t.Parallel()
	require.Equal(t, "darn", shown(t, words(t), "darn"))
	w := words(t, "\uFEFFmask: darn\r", "mask: heck\r")
	require.Equal(t, "**** ****", shown(t, w, "darn heck"))
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// take is what was logged since it was asked last.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func TestReload(t *testing.T) {
	t.Parallel()
	path := write(t, "mask: darn")
	synctest.Test(t, func(t *testing.T) {
		var log journal
		w, err := New(path, zerolog.New(&log), prometheus.NewRegistry())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		now := make(chan os.Signal)
		go func() { done <- w.Run(ctx, now) }()
		n := 0
		change := func(text string) {
			n++
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(int64(n), 0)))
			time.Sleep(lookEvery + time.Millisecond)
			synctest.Wait()
		}
		change("mask: heck")
		require.Equal(t, "darn ****", shown(t, w, "darn heck"))

		log.take()
		change("mask: darn\nsecret")
		require.Equal(t, "darn ****", shown(t, w, "darn heck"), "a bad list leaves the former one in force")
		told := log.take()
		require.Contains(t, told, "line 2")
		require.NotContains(t, told, "secret")
		time.Sleep(10 * lookEvery)
		synctest.Wait()
		require.Empty(t, log.take(), "told once")

		require.NoError(t, os.Remove(path))
		time.Sleep(lookEvery + time.Millisecond)
		synctest.Wait()
		require.Equal(t, "darn ****", shown(t, w, "darn heck"))
		change("reject: darn")
		require.Equal(t, "rejected", shown(t, w, "darn heck"))

		require.NoError(t, os.WriteFile(path, nil, 0o600))
		now <- syscall.SIGHUP
		synctest.Wait()
		require.Equal(t, "darn heck", shown(t, w, "darn heck"))
		cancel()
		require.NoError(t, <-done)
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	w := words(t, "mask: darn")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if got := shown(t, w, "oh darn, 坏"); got != "oh ****, 坏" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	for range 20 {
		w.reload()
	}
	wg.Wait()
}

// What is found is what looking at every place of the folded text finds, and only that is masked.
func TestFindsWhatABruteSearchFinds(t *testing.T) {
	t.Parallel()
	alphabet := []rune("aAbBc ﬁſK坏話\u200b\u0301é-１")
	text := func(most int) *rapid.Generator[string] {
		return rapid.Custom(func(rt *rapid.T) string {
			return string(rapid.SliceOfN(rapid.SampledFrom(alphabet), 1, most).Draw(rt, "runes"))
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		entries := rapid.SliceOfN(text(3), 1, 6).Draw(rt, "words")
		var lines []string
		for _, e := range entries {
			lines = append(lines, "mask: *"+e+"*")
		}
		l, err := parse(strings.Join(lines, "\n"))
		if err != nil {
			return // no word in a line
		}
		message := text(20).Draw(rt, "text")
		folded := fold(message)
		hit := make([]bool, len(folded))
		for _, e := range entries {
			word := fold(strings.TrimSpace(e))
			for i := 0; i+len(word) <= len(folded); i++ {
				if folded[i:i+len(word)] == word {
					for j := range word {
						hit[i+j] = true
					}
				}
			}
		}
		var s scratch
		found := s.judge(l, []byte(message)) == mask
		if found != strings.Contains(fmt.Sprint(hit), "true") {
			rt.Fatalf("%q in %q: found %v, hits %v", entries, message, found, hit)
		}
		if !found {
			return
		}
		got, was := []rune(string(s.masked)), []rune(message)
		if len(got) != len(was) {
			rt.Fatalf("%q became %q", message, string(got))
		}
		// What stays visible, folded by itself, is what was not hit: no more and no less than whole pieces are masked.
		var f folding
		at, n := 0, 0
		for f.begin([]byte(message)); f.more(); {
			from := f.at
			piece := len(f.next(nil))
			masked := got[n] == '*' && was[n] != '*'
			runes := utf8.RuneCountInString(message[from:f.at])
			want := false
			for _, h := range hit[at : at+piece] {
				want = want || h
			}
			if piece > 0 && masked != want {
				rt.Fatalf("%q in %q: %q, piece at %d masked %v, want %v", entries, message, string(got), n, masked, want)
			}
			at, n = at+piece, n+runes
		}
	})
}

func FuzzBody(f *testing.F) {
	w := words(f, "mask: *a*", "reject: zz", "mask: 坏")
	f.Add("a 坏 zz é")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		if got := shown(t, w, text); got != "rejected" && utf8.RuneCountInString(got) != utf8.RuneCountInString(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func manyWords(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	lines := make([]string, n)
	for i := range lines {
		word := make([]byte, 4+r.IntN(8))
		for j := range word {
			word[j] = byte('a' + r.IntN(26))
		}
		lines[i] = "mask: *" + string(word) + "*"
	}
	return lines
}

var plainTexts = map[string]string{
	"latin":   strings.Repeat("the quick brown fox jumps over a lazy dog ", 5)[:200],
	"chinese": strings.Repeat("我们今天去公园玩吧", 8)[:198],
	"mixed":   strings.Repeat("ça va ｗｉｄｅ été 😀 ", 7),
}

func TestNothingFoundAllocatesNothing(t *testing.T) { // not parallel: counts allocations
	w := words(t, manyWords(1000)...)
	for name, text := range plainTexts {
		body := textBody(text)
		k := new(worker) // the pool forgets at random under the race detector
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if do, _, err := k.body(w.list.Load(), body, &k.dec, &k.in); err != nil || do != clean {
				t.Fatal("something was found")
			}
		}), name)
		got, err := w.Body(body)
		require.NoError(t, err)
		require.Same(t, &body[0], &got[0], name)
	}
}

// Ten thousand words, texts of 200 bytes.
func BenchmarkBody(b *testing.B) {
	w := words(b, manyWords(10_000)...)
	for name, text := range plainTexts {
		b.Run(name, func(b *testing.B) {
			body := textBody(text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Body(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
