package wire

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hearth/domain"
)

// Limits bound a message.
type Limits struct {
	MessageBytes int // of the body, less insignificant white space
	TextBytes    int // of one text element
}

// DefaultLimits are the protocol's.
var DefaultLimits = Limits{MessageBytes: 12 << 10, TextBytes: 12_000}

const (
	maxElements = 10
	maxCount    = 1 << 53
)

// Body checks a message body (PROTOCOL.md §5) and returns it without insignificant white space: a new slice.
// Errors are bad_request or too_large and name the field, as in body[0].url.
func Body(raw []byte, limits Limits) ([]byte, error) {
	if len(raw) == 0 {
		return nil, domain.BadField("body", "is required")
	}
	body := jsontext.Value(raw).Clone()
	if err := body.Compact(); err != nil {
		return nil, domain.BadField("body", "is not valid JSON")
	}
	if body.Kind() != '[' {
		return nil, domain.BadField("body", "must be an array of elements")
	}
	if len(body) > limits.MessageBytes {
		return nil, domain.TooLarge("body", "at most %d bytes", limits.MessageBytes)
	}
	var elements []jsontext.Value
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, decodeError(err, "body")
	}
	if len(elements) == 0 || len(elements) > maxElements {
		return nil, domain.BadField("body", "must have 1 to %d elements", maxElements)
	}
	for i, e := range elements {
		if err := checkElement(fmt.Sprintf("body[%d]", i), e, limits); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// element is something that can stand in a body. Decoding fills it strictly; check does what types cannot.
type element interface {
	check(at string, limits Limits) error
}

func checkElement(at string, raw jsontext.Value, limits Limits) error {
	if raw.Kind() != '{' {
		return domain.BadField(at, "must be an object")
	}
	var kind struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return decodeError(err, at)
	}
	if kind.Type == nil {
		return domain.BadField(at+".type", "is required")
	}
	e := newElement(*kind.Type)
	if e == nil {
		return domain.BadField(at+".type", "must be text, sticker, voice, image, video, file, location or custom")
	}
	if err := json.Unmarshal(raw, e, json.RejectUnknownMembers(true)); err != nil {
		return decodeError(err, at)
	}
	return e.check(at, limits)
}

func newElement(kind string) element {
	switch kind {
	case "text":
		return &textElement{}
	case "sticker":
		return &stickerElement{}
	case "voice":
		return &voiceElement{}
	case "image":
		return &imageElement{}
	case "video":
		return &videoElement{}
	case "file":
		return &fileElement{}
	case "location":
		return &locationElement{}
	case "custom":
		return &customElement{}
	}
	return nil
}

type textElement struct {
	Type string  `json:"type"`
	Text *string `json:"text"`
}

func (e *textElement) check(at string, limits Limits) error {
	if e.Text == nil {
		return domain.BadField(at+".text", "is required")
	}
	if *e.Text == "" {
		return domain.BadField(at+".text", "must not be empty")
	}
	if len(*e.Text) > limits.TextBytes {
		return domain.TooLarge(at+".text", "at most %d bytes", limits.TextBytes)
	}
	return nil
}

type stickerElement struct {
	Type  string  `json:"type"`
	Index *int64  `json:"index"`
	URL   *string `json:"url"`
	Data  *string `json:"data"`
}

func (e *stickerElement) check(at string, _ Limits) error {
	if e.Index == nil && e.URL == nil && e.Data == nil {
		return domain.BadField(at, "a sticker needs index, url or data")
	}
	return optionalURL(at+".url", e.URL)
}

type voiceElement struct {
	Type     string  `json:"type"`
	URL      *string `json:"url"`
	Duration *int64  `json:"duration_ms"`
	Bytes    *int64  `json:"bytes"`
}

func (e *voiceElement) check(at string, _ Limits) error {
	return firstError(
		requiredURL(at+".url", e.URL),
		requiredCount(at+".duration_ms", e.Duration),
		optionalCount(at+".bytes", e.Bytes),
	)
}

type imageElement struct {
	Type     string  `json:"type"`
	URL      *string `json:"url"`
	Width    *int64  `json:"width"`
	Height   *int64  `json:"height"`
	Bytes    *int64  `json:"bytes"`
	ThumbURL *string `json:"thumb_url"`
}

func (e *imageElement) check(at string, _ Limits) error {
	return firstError(
		requiredURL(at+".url", e.URL),
		optionalCount(at+".width", e.Width),
		optionalCount(at+".height", e.Height),
		optionalCount(at+".bytes", e.Bytes),
		optionalURL(at+".thumb_url", e.ThumbURL),
	)
}

type videoElement struct {
	Type     string  `json:"type"`
	URL      *string `json:"url"`
	Duration *int64  `json:"duration_ms"`
	ThumbURL *string `json:"thumb_url"`
	Width    *int64  `json:"width"`
	Height   *int64  `json:"height"`
	Bytes    *int64  `json:"bytes"`
}

func (e *videoElement) check(at string, _ Limits) error {
	return firstError(
		requiredURL(at+".url", e.URL),
		requiredCount(at+".duration_ms", e.Duration),
		optionalURL(at+".thumb_url", e.ThumbURL),
		optionalCount(at+".width", e.Width),
		optionalCount(at+".height", e.Height),
		optionalCount(at+".bytes", e.Bytes),
	)
}

type fileElement struct {
	Type  string  `json:"type"`
	URL   *string `json:"url"`
	Name  *string `json:"name"`
	Bytes *int64  `json:"bytes"`
}

func (e *fileElement) check(at string, _ Limits) error {
	if err := requiredURL(at+".url", e.URL); err != nil {
		return err
	}
	if e.Name == nil || *e.Name == "" {
		return domain.BadField(at+".name", "is required")
	}
	return requiredCount(at+".bytes", e.Bytes)
}

type locationElement struct {
	Type      string   `json:"type"`
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
	Title     *string  `json:"title"`
}

func (e *locationElement) check(at string, _ Limits) error {
	return firstError(
		degrees(at+".latitude", e.Latitude, 90),
		degrees(at+".longitude", e.Longitude, 180),
	)
}

func degrees(field string, v *float64, limit float64) error {
	if v == nil {
		return domain.BadField(field, "is required")
	}
	if *v < -limit || *v > limit {
		return domain.BadField(field, "must be from -%v to %v", limit, limit)
	}
	return nil
}

type customElement struct {
	Type string         `json:"type"`
	Data jsontext.Value `json:"data"`
	Desc *string        `json:"desc"`
}

func (e *customElement) check(at string, _ Limits) error {
	if e.Data == nil {
		return domain.BadField(at+".data", "is required")
	}
	return nil
}

func firstError(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

func requiredCount(field string, n *int64) error {
	if n == nil {
		return domain.BadField(field, "is required")
	}
	return optionalCount(field, n)
}

func optionalCount(field string, n *int64) error {
	if n != nil && (*n < 0 || *n >= maxCount) {
		return domain.BadField(field, "must be from 0 to 2^53-1")
	}
	return nil
}

func requiredURL(field string, s *string) error {
	if s == nil || *s == "" {
		return domain.BadField(field, "is required")
	}
	return optionalURL(field, s)
}

// optionalURL lets through http(s) and paths of this server's uploads.
func optionalURL(field string, s *string) error {
	if s == nil {
		return nil
	}
	if len(*s) > domain.MaxURLBytes {
		return domain.BadField(field, "at most %d bytes", domain.MaxURLBytes)
	}
	if isUpload(*s) {
		return nil
	}
	u, err := url.Parse(*s)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return domain.BadField(field, "must be an http or https URL, or the path of an upload here")
}
