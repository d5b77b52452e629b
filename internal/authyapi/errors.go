package authyapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// This file owns errors: what the domain refused, in the contract's statuses, codes and shapes (section 2).

// errNobody is a verification for an id that the application does not have.
var errNobody = fault.New(fault.Unauthenticated, "verify-nobody", "User doesn't exist")

// refusal is one error answer.
type refusal struct {
	status  int
	code    string // five digits
	message string
	fields  map[string]string // each appears at top level and in errors
	token   bool              // a code was wrong: "token" at top level
	bare    bool              // errors is empty
	reason  string            // ours: at top level, what a program may act on
	after   time.Duration
}

var notFound = refusal{status: http.StatusNotFound, code: "60000", message: "The requested URL was not found. See the documentation for the addresses of this API."}

// refusals is the table from the domain's errors to the contract's; the message is the domain's own sentence.
var refusals = map[string]refusal{
	tenant.ErrKey.Code:            {status: 401, code: "60001"},
	tenant.ErrUser.Code:           {status: 404, code: "60026"},
	tenant.ErrUserInvalid.Code:    {status: 400, code: "60027"},
	errNobody.Code:                {status: 401, code: "60016"},
	device.ErrRegistration.Code:   {status: 404, code: "60035"},
	errDevice.Code:                {status: 404, code: "60092"},
	errParameter.Code:             {status: 400, code: "60004"},
	errPhone.Code:                 {status: 400, code: "60033"},
	errCallingCode.Code:           {status: 403, code: "60078"},
	errWhichPhone.Code:            {status: 400, code: "60042"},
	otp.ErrCustomMessage.Code:     {status: 403, code: "60091"},
	tenant.ErrEmail.Code:          {status: 400, code: "60038"},
	tenant.ErrActivity.Code:       {status: 400, code: "60029"},
	tenant.ErrActivityData.Code:   {status: 400, code: "60004"},
	tenant.ErrExportPhones.Code:   {status: 403, code: "60154"},
	tenant.ErrNoPhone.Code:        {status: 400, code: "60033"},
	otp.ErrWrong.Code:             {status: 401, code: "60020", token: true},
	otp.ErrUsed.Code:              {status: 401, code: "60019", token: true},
	otp.ErrBudget.Code:            {status: 503, code: "60017"},
	otp.ErrSMSOff.Code:            {status: 403, code: "60007"},
	otp.ErrVoiceOff.Code:          {status: 403, code: "60006"},
	otp.ErrNoSMS.Code:             {status: 503, code: "60015"},
	otp.ErrNoVoice.Code:           {status: 503, code: "60014"},
	otp.ErrNoEmail.Code:           {status: 503, code: "60015"},
	otp.ErrNoAddress.Code:         {status: 400, code: "60004"},
	otp.ErrSendMany.Code:          {status: 429, code: "60003"},
	otp.ErrAction.Code:            {status: 400, code: "60004"},
	otp.ErrGenericOff.Code:        {status: 403, code: "60123"},
	otp.ErrGenericLabel.Code:      {status: 400, code: "60004"},
	otp.ErrExportOff.Code:         {status: 403, code: "60031"},
	otp.ErrNoGeneric.Code:         {status: 404, code: "60113"},
	otp.ErrVerificationNone.Code:  {status: 404, code: "60023"},
	otp.ErrVerificationWrong.Code: {status: 401, code: "60022"},
	otp.ErrVerificationMany.Code:  {status: 429, code: "60003"},
	otp.ErrCustomCodeOff.Code:     {status: 403, code: "60021"},
	otp.ErrCustomCode.Code:        {status: 400, code: "60004"},
	otp.ErrCodeLength.Code:        {status: 400, code: "60004"},
	approval.ErrUnknown.Code:      {status: 404, code: "60049", bare: true},
	approval.ErrNoDevice.Code:     {status: 400, code: "60050"},
	approval.ErrOff.Code:          {status: 403, code: "60065"},
	approval.ErrWaiting.Code:      {status: 429, code: "60003"},
	approval.ErrPause.Code:        {status: 429, code: "60003"},
	approval.ErrReported.Code:     {status: 429, code: "60003", reason: approval.NotMe},
	approval.ErrFlood.Code:        {status: 429, code: "60003"},
	approval.ErrNotPending.Code:   {status: 400, code: "60079"},
	approval.ErrInvalid.Code:      {status: 400, code: "60004"},
	approval.ErrLogo.Code:         {status: 400, code: "60080"},
	approval.ErrReused.Code:       {status: 400, code: "60002"},
	sending.ErrNumber.Code:        {status: 400, code: "60033"},
	sending.ErrLandline.Code:      {status: 403, code: "60082"},
	sending.ErrCountry.Code:       {status: 403, code: "60013"},
	sending.ErrNumMany.Code:       {status: 429, code: "60003"},
	sending.ErrWait.Code:          {status: 429, code: "60003"},
	sending.ErrPrefix.Code:        {status: 429, code: "60003"},
	sending.ErrAddress.Code:       {status: 429, code: "60003"},
	sending.ErrHour.Code:          {status: 429, code: "60120"},
	sending.ErrDay.Code:           {status: 429, code: "60010"},
	sending.ErrCalls.Code:         {status: 429, code: "60012"},
	sending.ErrMail.Code:          {status: 429, code: "60003"},
	sending.ErrPaused.Code:        {status: 503, code: "60015"},
	sending.ErrNoCall.Code:        {status: 503, code: "60014"},
	reporting.ErrQuery.Code:       {status: 400, code: "60089"},
	reporting.ErrInterval.Code:    {status: 400, code: "60094"},
	reporting.ErrReport.Code:      {status: 400, code: "60095"},
	webhook.ErrAppKey.Code:        {status: 400, code: "60073"},
	webhook.ErrAccessKey.Code:     {status: 404, code: "60072"},
	webhook.ErrPermission.Code:    {status: 400, code: "60074"},
	webhook.ErrSignature.Code:     {status: 401, code: "60087"},
	webhook.ErrInvalid.Code:       {status: 400, code: "60098"},
	errDeleteWebhook.Code:         {status: 400, code: "60100"},
	otp.ErrNotice.Code:            {status: 400, code: "60004"},
	reset.ErrNone.Code:            {status: 404, code: "60901"},
	reset.ErrNotDue.Code:          {status: 409, code: "60902"},
	approval.ErrRenotified.Code:   {status: 429, code: "60003"},
}

// Refuse answers with the error. What cannot be done now may be asked again; what the domain did not mean to report is logged whole and
// told as an internal error.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if bad, ok := errors.AsType[*decodeError](err); ok {
		writeRefusal(w, refusal{status: http.StatusBadRequest, code: bad.code, message: bad.message})
		return
	}
	e, ok := errors.AsType[*fault.Error](err)
	if ok {
		if ref, known := refusals[e.Code]; known {
			ref.message, ref.fields, ref.after = e.Detail, e.Fields, e.RetryAfter
			writeRefusal(w, ref)
			return
		}
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone; there is nobody to answer
	}
	if ok && e.Kind == fault.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		a.Log.Warn("request put off", "route", r.Pattern, "error", err)
		ref := refusal{status: http.StatusServiceUnavailable, code: "60000", message: "The service is too busy. Try again in a moment.", after: time.Second}
		if ok {
			ref.message, ref.after = e.Detail, max(ref.after, e.RetryAfter)
		}
		writeRefusal(w, ref)
		return
	}
	a.Log.Error("request failed", "route", r.Pattern, "error", err)
	writeRefusal(w, refusal{status: http.StatusInternalServerError, code: "60000", message: "An internal error occurred. Please try again later."})
}

func writeRefusal(w http.ResponseWriter, ref refusal) {
	errs := map[string]string{}
	answer := map[string]any{"message": ref.message, "success": false, "errors": errs, "error_code": ref.code}
	if !ref.bare {
		errs["message"] = ref.message
	}
	for field, text := range ref.fields {
		errs[field], answer[field] = text, text
	}
	if ref.reason != "" {
		answer["reason"] = ref.reason
	}
	if ref.token {
		answer["token"] = "is invalid"
	}
	if ref.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(ref.after.Seconds()))))
	}
	writeJSON(w, ref.status, answer)
}
