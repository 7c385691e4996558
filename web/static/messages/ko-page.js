// The call's and the test page's words in Korean, by their English.
export default {
};
