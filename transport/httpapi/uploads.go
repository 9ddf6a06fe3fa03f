package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"gocloud.dev/blob"

	"hearth/domain"
	"hearth/transport/wire"
)

// Uploads is where files that messages refer to are kept, and what they may be.
type Uploads struct {
	// Bucket holds them; its owner closes it. Nil: there are no uploads, and the rest of this is not looked at.
	Bucket *blob.Bucket
	// Direct signs a URL of the bucket's own, so that the bytes do not pass this server. Nil: they do.
	Direct func(context.Context, UploadSlot) (uploadURL string, headers map[string]string, err error)
	// Secret is what upload URLs are signed with; the same on every instance.
	Secret       []byte
	MaxBytes     int64         // of one file
	ContentTypes []string      // media types that are taken
	Expiry       time.Duration // from the answer to the last moment at which the bytes may start to come
	Rate         float64       // upload URLs a second and user; 0: no limit
	Burst        int           // of them at once
	Concurrent   int           // uploads that come through here at the same time
}

func (c *Uploads) check() error {
	switch {
	case c.Bucket == nil:
		return nil
	case len(c.Secret) < 32:
		return errors.New("the secret of uploads is shorter than 32 bytes")
	case c.MaxBytes < 1 || c.Expiry <= 0 || c.Concurrent < 1:
		return errors.New("uploads need MaxBytes, Expiry and Concurrent")
	}
	return nil
}

// UploadSlot is a place for one file.
type UploadSlot struct {
	Key, Name, ContentType string
	Bytes                  int64
	Expires                time.Time
}

// Metadata is what the bucket keeps beside the bytes: without it they are not served.
func (s UploadSlot) Metadata() map[string]string {
	return map[string]string{uploadNameKey: s.Name}
}

const uploadNameKey = "name"

const (
	uploadTag   = "Uploads"
	uploadRoute = "/v1/uploads/{key}/{name}"
)

func (a *api) addUploads(r chi.Router) {
	register(a, route{
		method: http.MethodPost, path: "/v1/uploads", id: "createUpload", tag: uploadTag, status: http.StatusCreated,
		summary: "Get a URL to upload a file to",
		description: "Send the bytes to `upload_url` with the `method` and `headers` of the answer, before `expires_ms` and once. " +
			"After that `url` serves them, to whoever knows it; it is what messages take as the URL of an image, a file and so on.",
		errors: []domain.Code{domain.CodeNotFound, domain.CodeRateLimited},
	}, a.createUpload)

	r.Put(uploadRoute, a.putUpload)
	r.Get(uploadRoute, a.getUpload)
	r.Head(uploadRoute, a.getUpload)
	path := []*huma.Param{
		{Name: "key", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "name", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
	}
	bytes := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	put := huma.Operation{
		Method: http.MethodPut, Path: uploadRoute, OperationID: "putUpload", Tags: []string{uploadTag}, Parameters: path,
		Summary: "Upload the bytes",
		Description: "For an `upload_url`, as it is: its query is signed. No token. As many bytes as were announced, with their " +
			"Content-Length, of the Content-Type that was announced. A second time: `conflict`.",
		RequestBody: &huma.RequestBody{Required: true, Content: bytes},
		Responses:   map[string]*huma.Response{"204": {Description: "The bytes are kept"}},
		Security:    []map[string][]string{},
	}
	a.documentErrors(&put, domain.CodeBadRequest, domain.CodeForbidden, domain.CodeNotFound, domain.CodeConflict,
		domain.CodeTooLarge, domain.CodeRateLimited, domain.CodeOverloaded, domain.CodeUnavailable, domain.CodeInternal)
	a.documentProblem(&put, http.StatusLengthRequired, domain.CodeBadRequest)
	get := huma.Operation{
		Method: http.MethodGet, Path: uploadRoute, OperationID: "getUpload", Tags: []string{uploadTag}, Parameters: path,
		Summary: "Download an upload",
		Description: "No token: who knows the URL may read it. Pictures, sound and video come as what they are, everything else as " +
			"a file to be saved. Takes Range (one) and If-None-Match; HEAD likewise.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The bytes", Content: bytes}, "206": {Description: "A range of them", Content: bytes},
			"304": {Description: "They are what If-None-Match names"},
		},
		Security: []map[string][]string{},
	}
	a.documentErrors(&get, domain.CodeNotFound, domain.CodeRateLimited, domain.CodeUnavailable, domain.CodeInternal)
	a.documentProblem(&get, http.StatusRequestedRangeNotSatisfiable, domain.CodeBadRequest)
	a.huma.OpenAPI().AddOperation(&put)
	a.huma.OpenAPI().AddOperation(&get)
}

type newUpload struct {
	Name        string `json:"name" minLength:"1" maxLength:"255" doc:"Of the file, without a path. In the URL it has letters, digits, and . _ - only."`
	ContentType string `json:"content_type" doc:"One of uploads.content_types."`
	Bytes       int64  `json:"bytes" minimum:"1" doc:"At most uploads.max_bytes."`
}

type createUploadInput struct{ withBody[newUpload] }

type upload struct {
	UploadURL string            `json:"upload_url" doc:"Absolute, or a path of this server."`
	Method    string            `json:"method" enum:"PUT"`
	Headers   map[string]string `json:"headers" doc:"To be sent with the bytes."`
	URL       string            `json:"url" doc:"Where the bytes are afterwards; a path of this server."`
	ExpiresMS int64             `json:"expires_ms" doc:"Until then the bytes may be sent."`
}

func (a *api) createUpload(ctx context.Context, in *createUploadInput) (*created[upload], error) {
	if a.Uploads.Bucket == nil {
		return nil, noUploads()
	}
	slot, err := a.slotFor(in.body())
	if err != nil {
		return nil, err
	}
	if wait := a.uploads.rates.take(actorOf(ctx)); wait > 0 {
		a.metrics.uploadsLimited.Inc()
		return nil, &domain.Error{Code: domain.CodeRateLimited, Message: "too many uploads", RetryAfter: wait}
	}
	out := upload{
		Method: http.MethodPut, URL: wire.UploadPath(slot.Key, slot.Name), ExpiresMS: slot.Expires.UnixMilli(),
		UploadURL: a.uploads.signedPath(slot), Headers: map[string]string{"Content-Type": slot.ContentType},
	}
	if a.Uploads.Direct != nil {
		if out.UploadURL, out.Headers, err = a.Uploads.Direct(ctx, slot); err != nil {
			return nil, bucketFailed(fmt.Errorf("sign upload: %w", err), slot.Key)
		}
	}
	return &created[upload]{Status: http.StatusCreated, Location: out.URL, Body: out}, nil
}

// slotFor checks what is to come and gives it a place that nobody can guess.
func (a *api) slotFor(b *newUpload) (UploadSlot, error) {
	if err := checkUploadName(b.Name); err != nil {
		return UploadSlot{}, err
	}
	media, err := a.mediaType(b.ContentType)
	if err != nil {
		return UploadSlot{}, err
	}
	if b.Bytes < 1 {
		return UploadSlot{}, domain.BadField("bytes", "must be at least 1")
	}
	if b.Bytes > a.Uploads.MaxBytes {
		return UploadSlot{}, domain.TooLarge("bytes", "at most %d", a.Uploads.MaxBytes)
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	return UploadSlot{
		Key: hex.EncodeToString(key), Name: wire.SafeUploadName(b.Name), ContentType: media, Bytes: b.Bytes,
		Expires: time.Now().Add(a.Uploads.Expiry).Truncate(time.Millisecond),
	}, nil
}

const maxFileNameBytes = 255 // what file systems have

// checkUploadName refuses what no file is called. What is merely unwise, SafeUploadName replaces.
func checkUploadName(name string) error {
	isControl := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case name == "":
		return domain.BadField("name", "is required")
	case len(name) > maxFileNameBytes:
		return domain.BadField("name", "at most %d bytes", maxFileNameBytes)
	case name == "." || name == ".." || strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, isControl):
		return domain.BadField("name", "must be the name of a file, without a path")
	}
	return nil
}

// mediaType is a content type without its parameters, if it is taken here.
func (a *api) mediaType(contentType string) (string, error) {
	if contentType == "" {
		return "", domain.BadField("content_type", "is required")
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || !slices.Contains(a.Uploads.ContentTypes, media) {
		return "", domain.BadField("content_type", "is not a type of file that is taken here")
	}
	return media, nil
}

// bucketFailed keeps the key, with which anybody could read the file, out of the log.
func bucketFailed(err error, key string) error {
	return domain.Unavailable(errors.New(strings.ReplaceAll(err.Error(), key, "***")), "the store of uploads")
}

func noUploads() error {
	return domain.Errorf(domain.CodeNotFound, "there are no uploads on this server")
}
