package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"hearth/transport/wire"
)

// given is a field that may be left out. null is refused: it could mean to leave it or to empty it.
type given[T any] struct{ value *T }

// UnmarshalJSON is asked only when the field is there.
func (g *given[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return errors.New("null")
	}
	g.value = new(T)
	return wire.Decode(data, g.value)
}

// Schema makes the OpenAPI file show the T.
func (given[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

// The types of this file are what answers and message bodies look like, for the OpenAPI file: the bytes
// themselves are written by wire and domain.

type message struct {
	Group      string   `json:"group"`
	Seq        int64    `json:"seq"`
	TimeMS     int64    `json:"time_ms"`
	From       string   `json:"from"`
	Body       elements `json:"body,omitempty" doc:"Left out when the message was recalled."`
	ClientID   string   `json:"client_id,omitempty"`
	Mentions   []string `json:"mentions,omitempty" nullable:"false"`
	ReplyTo    int64    `json:"reply_to,omitempty"`
	Operator   string   `json:"operator,omitempty" doc:"The key's id, when an app server sent it."`
	RecalledMS int64    `json:"recalled_ms,omitempty"`
	RecalledBy string   `json:"recalled_by,omitempty"`
}

type hole struct {
	From   int64  `json:"from" doc:"Both ends are inclusive."`
	To     int64  `json:"to"`
	Reason string `json:"reason" enum:"lost,expired"`
}

type page struct {
	Group    string    `json:"group"`
	MaxSeq   int64     `json:"max_seq"`
	MinSeq   int64     `json:"min_seq" doc:"The lowest seq that may still have a message."`
	Messages []message `json:"messages" nullable:"false"`
	Holes    []hole    `json:"holes" nullable:"false"`
	Recalled []int64   `json:"recalled,omitempty" nullable:"false" doc:"With recalled_after_ms: seqs up to after_seq recalled since then."`
	More     bool      `json:"more"`
}

type syncAnswer struct {
	Results []syncResult `json:"results" nullable:"false"`
	Cursor  string       `json:"cursor,omitempty" doc:"Without groups: where to go on; left out at the end."`
}

// syncResult is a group's page, its error, or its head.
type syncResult struct {
	Group        string    `json:"group"`
	Error        *failure  `json:"error,omitempty" doc:"Stands instead of everything else."`
	MaxSeq       int64     `json:"max_seq,omitempty"`
	MinSeq       int64     `json:"min_seq,omitempty" doc:"With groups."`
	ReadSeq      int64     `json:"read_seq,omitempty"`
	Unread       int64     `json:"unread,omitempty"`
	PersistedSeq int64     `json:"persisted_seq,omitempty" doc:"With groups."`
	Messages     []message `json:"messages,omitempty" nullable:"false" doc:"With groups."`
	Holes        []hole    `json:"holes,omitempty" nullable:"false" doc:"With groups."`
	Recalled     []int64   `json:"recalled,omitempty" nullable:"false" doc:"With recalled_after_ms: seqs up to after_seq recalled since then."`
	More         bool      `json:"more,omitempty" doc:"With groups."`
	Type         string    `json:"type,omitempty" enum:"room,group,direct" doc:"Without groups."`
	Name         string    `json:"name,omitempty" doc:"Without groups."`
	MentionedSeq int64     `json:"mentioned_seq,omitempty" doc:"Without groups: the highest unread message that mentions the user, where there is one."`
	LastMessage  *message  `json:"last_message,omitempty" doc:"Without groups, where there is one."`
}

// failure is the error of one group.
type failure struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

// elements is a message's body as it came, for wire.Body to check.
type elements json.RawMessage

// UnmarshalJSON keeps the bytes, which the decoder has checked.
func (e *elements) UnmarshalJSON(data []byte) error {
	*e = bytes.Clone(data)
	return nil
}

// Schema makes the OpenAPI file show the kinds of elements.
func (elements) Schema(r huma.Registry) *huma.Schema {
	least, most := 1, 10
	return &huma.Schema{
		Type: huma.TypeArray, MinItems: &least, MaxItems: &most,
		Items: &huma.Schema{OneOf: []*huma.Schema{
			schemaOf[textElement](r), schemaOf[stickerElement](r), schemaOf[voiceElement](r), schemaOf[imageElement](r),
			schemaOf[videoElement](r), schemaOf[fileElement](r), schemaOf[locationElement](r), schemaOf[customElement](r),
		}},
	}
}

type textElement struct {
	Type string `json:"type" enum:"text"`
	Text string `json:"text" minLength:"1" maxLength:"12000" doc:"1 to 12,000 bytes."`
}

type stickerElement struct {
	Type  string `json:"type" enum:"sticker"`
	Index int64  `json:"index,omitempty" doc:"At least one of index, url and data."`
	URL   string `json:"url,omitempty" maxLength:"2048"`
	Data  string `json:"data,omitempty"`
}

type voiceElement struct {
	Type       string `json:"type" enum:"voice"`
	URL        string `json:"url" maxLength:"2048"`
	DurationMS int64  `json:"duration_ms" minimum:"0"`
	Bytes      int64  `json:"bytes,omitempty" minimum:"0"`
}

type imageElement struct {
	Type     string `json:"type" enum:"image"`
	URL      string `json:"url" maxLength:"2048"`
	Width    int64  `json:"width,omitempty" minimum:"0"`
	Height   int64  `json:"height,omitempty" minimum:"0"`
	Bytes    int64  `json:"bytes,omitempty" minimum:"0"`
	ThumbURL string `json:"thumb_url,omitempty" maxLength:"2048"`
}

type videoElement struct {
	Type       string `json:"type" enum:"video"`
	URL        string `json:"url" maxLength:"2048"`
	DurationMS int64  `json:"duration_ms" minimum:"0"`
	ThumbURL   string `json:"thumb_url,omitempty" maxLength:"2048"`
	Width      int64  `json:"width,omitempty" minimum:"0"`
	Height     int64  `json:"height,omitempty" minimum:"0"`
	Bytes      int64  `json:"bytes,omitempty" minimum:"0"`
}

type fileElement struct {
	Type  string `json:"type" enum:"file"`
	URL   string `json:"url" maxLength:"2048"`
	Name  string `json:"name"`
	Bytes int64  `json:"bytes" minimum:"0"`
}

type locationElement struct {
	Type      string  `json:"type" enum:"location"`
	Latitude  float64 `json:"latitude" minimum:"-90" maximum:"90"`
	Longitude float64 `json:"longitude" minimum:"-180" maximum:"180"`
	Title     string  `json:"title,omitempty"`
}

type customElement struct {
	Type string          `json:"type" enum:"custom"`
	Data json.RawMessage `json:"data" doc:"Any JSON."`
	Desc string          `json:"desc,omitempty"`
}
