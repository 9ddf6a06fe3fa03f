package domain_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fakeWords is a word list with two words.
type fakeWords struct{ err error }

func (w fakeWords) Body(body []byte) ([]byte, error) {
	switch {
	case w.err != nil:
		return nil, w.err
	case bytes.Contains(body, []byte("poison")):
		return nil, domain.Errorf(domain.CodeRejected, "the word list does not allow this message")
	}
	return bytes.ReplaceAll(body, []byte("darn"), []byte("****")), nil
}

func (w fakeWords) Name(field, name string) error {
	if _, err := w.Body([]byte(name)); err != nil {
		return &domain.Error{Code: domain.CodeRejected, Field: field}
	}
	return nil
}

func TestTheWordListIsAskedBehindTheHash(t *testing.T) {
	t.Parallel()
	s, appender, _ := newSends()
	s.UseModerator(fakeWords{})
	body := []byte(`[{"type":"text","text":"darn"}]`)
	got := send(s, domain.Draft{Group: "g", From: "ann", Body: body, ClientID: "c"})
	require.Len(t, got.receipts, 1)
	a := appender.appends[0]
	require.Equal(t, `[{"type":"text","text":"****"}]`, string(a.Body))
	require.Equal(t, domain.ContentHash([]byte(`[{"type":"text","text":"darn"}]`), nil, 0)[1:], a.Hash[1:], "of what was sent")
	require.True(t, a.Replaced())
	require.True(t, a.Judged)
	require.Nil(t, a.Refused)

	send(s, domain.Draft{Group: "g", From: "system", Operator: "key", Body: []byte(`[{"type":"text","text":"poison darn"}]`)})
	require.Equal(t, `[{"type":"text","text":"poison darn"}]`, string(appender.appends[1].Body), "app servers are trusted")
	require.Nil(t, appender.appends[1].Refused)
}

func TestWhatTheWordListRefusesGoesOnOnlyAsARepeat(t *testing.T) {
	t.Parallel()
	s, appender, _ := newSends()
	s.UseModerator(fakeWords{})
	poison := []byte(`[{"type":"text","text":"poison"}]`)
	got := send(s, domain.Draft{Group: "g", From: "ann", Body: poison})
	requireCode(t, got.errs[0], domain.CodeRejected, "")
	require.Empty(t, appender.appends, "without a client_id it is no repeat")

	send(s, domain.Draft{Group: "g", From: "ann", Body: poison, ClientID: "c"})
	require.Len(t, appender.appends, 1)
	requireCode(t, appender.appends[0].Refused, domain.CodeRejected, "")
	require.Equal(t, domain.ContentHash(poison, nil, 0), appender.appends[0].Hash)

	broken := errors.New("broken")
	s.UseModerator(fakeWords{err: broken})
	got = send(s, domain.Draft{Group: "g", From: "ann", Body: hi, ClientID: "c"})
	require.Equal(t, []error{broken}, got.errs)
	require.Len(t, appender.appends, 1)
}

func TestTheWordListIsAskedForNames(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.groups.UseModerator(fakeWords{})
	n := domain.NewGroup{ID: "g", Type: domain.Room, Name: "poison"}
	_, err := w.groups.Create(t.Context(), user("ann"), n)
	requireCode(t, err, domain.CodeRejected, "name")
	require.NotContains(t, w.mysql.groups, "g")
	_, err = w.groups.Create(t.Context(), domain.Actor{User: "ann", Key: "key"}, n)
	require.NoError(t, err, "app servers are trusted")

	n.ID, n.Name = "h", "fine"
	n.Owner = ""
	_, err = w.groups.Create(t.Context(), user("ann"), n)
	require.NoError(t, err)
	_, err = w.groups.Update(t.Context(), user("ann"), "h", domain.GroupPatch{Name: new("poison")})
	requireCode(t, err, domain.CodeRejected, "name")
	_, err = w.groups.Update(t.Context(), user("ann"), "h", domain.GroupPatch{Avatar: new("/poison.png")})
	require.NoError(t, err)
	require.Equal(t, "fine", w.mysql.groups["h"].Name)
}
