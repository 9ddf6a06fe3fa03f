package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"hearth/domain"
)

// An upload that comes slower than this is cut off: it would hold its place for ever.
const (
	uploadGrace       = 15 * time.Second
	uploadBytesSecond = 64 << 10
)

// transferTime is how long so many bytes may take.
func transferTime(bytes int64) time.Duration {
	return uploadGrace + time.Duration(bytes)*time.Second/uploadBytesSecond
}

// putUpload takes the bytes for an upload_url.
func (a *api) putUpload(w http.ResponseWriter, r *http.Request) {
	if err := a.takeUpload(w, r); err != nil {
		a.logFailure(r.Context(), err)
		w.Header().Set("Connection", "close") // or net/http would wait for the rest of the body first
		WriteError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) takeUpload(w http.ResponseWriter, r *http.Request) error {
	if a.Uploads.Bucket == nil {
		return noUploads()
	}
	slot, err := a.uploads.slotOf(r.URL)
	if err != nil {
		return err
	}
	if err := checkUploadHead(r, slot); err != nil {
		return err
	}
	if err := a.uploads.coming.enter(slot.Key); err != nil {
		return err
	}
	defer a.uploads.coming.leave(slot.Key)
	takes := transferTime(slot.Bytes)
	ctx, cancel := context.WithTimeout(r.Context(), takes)
	defer cancel()
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(takes)) // not every ResponseWriter has deadlines
	_ = deadline.SetWriteDeadline(time.Now().Add(takes + uploadGrace))
	return storeUpload(ctx, a.Uploads.Bucket, slot, r.Body)
}

// checkUploadHead refuses, before a byte is read, what is not what the URL was signed for.
func checkUploadHead(r *http.Request, slot UploadSlot) error {
	switch {
	case r.ContentLength < 0:
		return withStatus(http.StatusLengthRequired, domain.Errorf(domain.CodeBadRequest, "the request needs a Content-Length"))
	case r.ContentLength > slot.Bytes:
		return moreThan(slot)
	case r.ContentLength < slot.Bytes:
		return lessThan(slot)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != slot.ContentType {
		return domain.Errorf(domain.CodeBadRequest, "the Content-Type is not the one that was announced")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return domain.Errorf(domain.CodeBadRequest, "the bytes must not be compressed on the way")
	}
	return nil
}

func moreThan(s UploadSlot) error {
	return domain.Errorf(domain.CodeTooLarge, "there are more than the %d bytes that were announced", s.Bytes)
}

func lessThan(s UploadSlot) error {
	return domain.Errorf(domain.CodeBadRequest, "there are fewer than the %d bytes that were announced", s.Bytes)
}

func takenUpload() error {
	return domain.Errorf(domain.CodeConflict, "the bytes of this upload were sent already")
}

// storeUpload streams a body into the bucket. Until all of it is there nobody sees any of it, and of what fails nothing stays.
func storeUpload(ctx context.Context, bucket *blob.Bucket, slot UploadSlot, body io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &arriving{from: body}
	head, err := io.ReadAll(io.LimitReader(in, sniffedBytes))
	if err != nil {
		return incomplete(err)
	}
	if contradicts(slot.ContentType, head) {
		return domain.Errorf(domain.CodeBadRequest, "the bytes are not of the content type that was announced")
	}
	out, err := bucket.NewWriter(ctx, slot.Key, &blob.WriterOptions{
		ContentType: slot.ContentType, Metadata: slot.Metadata(), IfNotExist: true,
		MaxConcurrency: 1, // each part of 8 MB that is sent to S3 at the same time lies in memory
	})
	if err != nil {
		return bucketFailed(err, slot.Key)
	}
	rest := io.LimitReader(in, slot.Bytes+1-int64(len(head)))
	// The blob's own ReadFrom would take a megabyte.
	n, err := io.Copy(struct{ io.Writer }{out}, io.MultiReader(bytes.NewReader(head), rest))
	switch {
	case in.err != nil:
		err = incomplete(in.err)
	case err != nil:
		err = bucketFailed(err, slot.Key)
	case n > slot.Bytes:
		err = moreThan(slot)
	case n < slot.Bytes:
		err = lessThan(slot)
	}
	if err != nil {
		cancel() // that is how a writer is told to give up
		_ = out.Close()
		return err
	}
	switch err := out.Close(); {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.FailedPrecondition:
		return takenUpload()
	default:
		return bucketFailed(err, slot.Key)
	}
}

// arriving remembers why a body ended, so that its failures are not taken for the bucket's.
type arriving struct {
	from io.Reader
	err  error
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		a.err = err
	}
	return n, err
}

const sniffedBytes = 512 // what http.DetectContentType looks at

// inlineTypes are served as what they are, for no browser runs them. Each has the types that its bytes may look like
// to http.DetectContentType; some share their container.
var inlineTypes = map[string][]string{
	"image/jpeg":      {"image/jpeg"},
	"image/png":       {"image/png"},
	"image/gif":       {"image/gif"},
	"image/webp":      {"image/webp"},
	"image/avif":      {"video/mp4"},
	"audio/mpeg":      {"audio/mpeg"},
	"audio/mp4":       {"video/mp4"},
	"audio/aac":       {"audio/mpeg"},
	"audio/ogg":       {"application/ogg"},
	"audio/webm":      {"video/webm"},
	"audio/wav":       {"audio/wave"},
	"video/mp4":       {"video/mp4"},
	"video/webm":      {"video/webm"},
	"video/quicktime": {"video/mp4"},
}

// contradicts tells whether bytes that are to be a picture, sound or video plainly are something else. What is not
// recognised is let through, and so is plain text, which is only the word for bytes without a pattern.
func contradicts(media string, head []byte) bool {
	kind, _, _ := strings.Cut(media, "/")
	if kind != "image" && kind != "audio" && kind != "video" {
		return false
	}
	found, _, _ := strings.Cut(http.DetectContentType(head), ";")
	return found != "application/octet-stream" && found != "text/plain" && found != media &&
		!slices.Contains(inlineTypes[media], found)
}
