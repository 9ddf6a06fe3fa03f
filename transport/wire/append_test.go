package wire

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

func hasDuplicateNames(object []byte) bool {
	v := jsontext.Value(object)
	return !v.IsValid(jsontext.AllowDuplicateNames(false))
}

var anID = rapid.StringMatching(`[A-Za-z0-9_.@#-]{1,64}`)

func aRecord(t *rapid.T) domain.Record {
	text, err := json.Marshal(rapid.StringN(1, 20, -1).Draw(t, "text"))
	if err != nil {
		t.Fatal(err)
	}
	m := domain.Message{
		Group:  anID.Draw(t, "group"),
		Seq:    rapid.Int64Range(1, 1<<53-1).Draw(t, "seq"),
		TimeMS: rapid.Int64Range(0, 1<<53-1).Draw(t, "time"),
		Header: domain.Header{From: anID.Draw(t, "from"), Mentions: rapid.SliceOfN(anID, 0, 3).Draw(t, "mentions")},
		Body:   fmt.Appendf(nil, `[{"type":"text","text":%s}]`, text),
	}
	return m.Record()
}

func TestMessageEventIsTheMessageWithItsEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := aRecord(t)
		prev := rapid.Int64Range(0, r.Seq-1).Draw(t, "prev_seq")
		event := AppendMessage(nil, r)
		before := string(event)
		withPrev := WithPrevSeq(event, prev)
		require.Equal(t, before, string(event), "the shared event stays as it is")

		var message, got map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(r.AppendJSON(nil), &message))
		message["event"] = json.RawMessage(`"message"`)
		require.NoError(t, json.Unmarshal(event, &got))
		require.Equal(t, message, got)

		message["prev_seq"] = fmt.Appendf(nil, "%d", prev)
		got = nil
		require.NoError(t, json.Unmarshal(withPrev, &got))
		require.Equal(t, message, got)
		require.False(t, hasDuplicateNames(withPrev))
	})
}

func TestFreeTextIsEscaped(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		for _, object := range [][]byte{
			AppendError(nil, 1, domain.Errorf(domain.CodeRejected, "%s", text)),
			AppendGoodbye(nil, domain.CloseServerError, text, time.Second),
			(&Welcome{Conn: "c", User: "u", Instance: text}).Append(nil),
			AppendSynced(nil, 1, []domain.SyncResult{{Group: text, Err: domain.Errorf(domain.CodeGone, "%s", text)}}),
			AppendConversationList(nil, 1, []domain.Conversation{{Head: domain.Head{Group: "g", Type: domain.Room, Name: text}}}, text),
		} {
			requireFrameObject(t, object)
		}
	})
}

func TestErrorObjectTellsWhatToDo(t *testing.T) {
	t.Parallel()
	for code, retryable := range map[domain.Code]bool{
		domain.CodeBadRequest: false, domain.CodeUnauthorized: false, domain.CodeForbidden: false, domain.CodeNotMember: false,
		domain.CodeMuted: false, domain.CodeRejected: false, domain.CodeStrangerLimit: false, domain.CodeNotFound: false,
		domain.CodeConflict: false, domain.CodeAlreadyOnline: false, domain.CodeGone: false, domain.CodeTooLarge: false,
		domain.CodeRateLimited: true, domain.CodeOverloaded: true, domain.CodeUnavailable: true, domain.CodeInternal: true,
	} {
		want := fmt.Sprintf(`{"id":3,"error":{"code":"%s","message":"m","retryable":%t}}`, code, retryable)
		require.Equal(t, want, string(AppendError(nil, 3, domain.Errorf(code, "m"))))
	}
	soon := &domain.Error{Code: domain.CodeUnavailable, Message: "m", RetryAfter: time.Microsecond}
	require.Contains(t, string(AppendError(nil, 3, soon)), `"retry_after_ms":1}`, "rounded up: 0 would mean nothing")
	wrapped := fmt.Errorf("send: %w", domain.Unavailable(fmt.Errorf("dial 10.0.0.7"), "Redis"))
	require.NotContains(t, string(AppendError(nil, 3, wrapped)), "10.0.0.7", "causes stay inside")
}
