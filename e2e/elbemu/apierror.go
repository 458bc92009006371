package elbemu

import (
	"fmt"
	"net/http"
)

// APIError is an answer of the API that is not a success. Code is the code on
// the wire, without the "Exception" of the SDK's type names.
type APIError struct {
	Status  int
	Code    string
	Message string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s: %s (HTTP %d)", e.Code, e.Message, e.Status)
}

// Codes on the wire. The modeled ones are in the published API model; the
// others are among the service's undocumented or general errors.
const (
	codeValidation           = "ValidationError"
	codeInvalidConfiguration = "InvalidConfigurationRequest"
	codeInvalidAction        = "InvalidAction"
	codeInvalidQuery         = "InvalidQueryParameter"
	codeMissingAction        = "MissingAction"
	codeThrottling           = "Throttling"
	codeThrottlingException  = "ThrottlingException"
	codeInternalFailure      = "InternalFailure"
	codeAccessDenied         = "AccessDenied"

	codeLoadBalancerNotFound = "LoadBalancerNotFound"
	codeTargetGroupNotFound  = "TargetGroupNotFound"
	codeListenerNotFound     = "ListenerNotFound"
	codeSubnetNotFound       = "SubnetNotFound"
	codeAllocationNotFound   = "AllocationIdNotFound"
	codeDuplicateLB          = "DuplicateLoadBalancerName"
	codeDuplicateTG          = "DuplicateTargetGroupName"
	codeDuplicateListener    = "DuplicateListener"
	codeDuplicateTagKeys     = "DuplicateTagKeys"
	codeTooManyLBs           = "TooManyLoadBalancers"
	codeTooManyTGs           = "TooManyTargetGroups"
	codeTooManyListeners     = "TooManyListeners"
	codeTooManyTargets       = "TooManyTargets"
	codeTooManyTags          = "TooManyTags"
	codeTooManyActions       = "TooManyActions"
	codeResourceInUse        = "ResourceInUse"
	codeNotPermitted         = "OperationNotPermitted"
	codeAssociationLimit     = "TargetGroupAssociationLimit"
	codeIncompatible         = "IncompatibleProtocols"
	codeInvalidTarget        = "InvalidTarget"
	codeInvalidLBAction      = "InvalidLoadBalancerAction"
	codeCertificateNotFound  = "CertificateNotFound"

	// codeNotEmulated is no code of AWS: the request may be right, but this
	// emulator cannot answer it truly.
	codeNotEmulated = "NotEmulated"
)

// refuse is a client error. All client errors of the service are HTTP 400.
func refuse(code, format string, args ...any) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// denied is a call that no policy allows.
func denied(format string, args ...any) *APIError {
	return &APIError{Status: http.StatusForbidden, Code: codeAccessDenied, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *APIError { return refuse(codeValidation, format, args...) }

func notEmulated(format string, args ...any) *APIError {
	return refuse(codeNotEmulated, "elbemu does not emulate "+format, args...)
}
